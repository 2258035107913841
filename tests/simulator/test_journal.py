"""No finished episode is lost, none is mixed with another evaluation's."""

import json

import pytest

from reflow.simulator.journal import (
    EPISODES,
    IDENTITY,
    Episode,
    Journal,
    Key,
    OtherEvaluationError,
    read_episodes,
)

IDENTITY_A = {
    "env": {"type": "pick", "episode_length": 150},
    "noise_seed": 7,
    "policies": {"teacher": {"fingerprint": "aa"}},
}


def episode(seed: int, **changes) -> Episode:
    values = {"contender": "teacher", "num_steps": 10, "success": True, "max_reward": 4.0, "sum_reward": 20.5}
    return Episode(**{**values, "seed": seed, "length": 75, **changes})


def test_goes_on_where_it_was(tmp_path):
    with Journal(tmp_path / "new", IDENTITY_A) as journal:
        assert journal.finished == {}
        for seed in range(3):
            journal.append(episode(seed))
    with Journal(tmp_path / "new", IDENTITY_A) as journal:
        assert list(journal.finished.values()) == [episode(seed) for seed in range(3)]
        assert journal.finished[Key("teacher", 10, 2)].length == 75
        journal.append(episode(3))
    lines = (tmp_path / "new" / EPISODES).read_text().splitlines()
    assert [json.loads(line)["seed"] for line in lines] == [0, 1, 2, 3]


def test_a_line_is_on_the_disk_when_append_returns(tmp_path):
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0))
        assert (tmp_path / EPISODES).read_text().endswith('"jumps": []}\n')


@pytest.mark.parametrize("torn", [b'{"contender": "teac', b"{", json.dumps({"seed": 1}).encode()])
def test_a_torn_last_line_is_dropped_and_the_next_one_is_whole(tmp_path, torn):
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0))
    with open(tmp_path / EPISODES, "ab") as file:
        file.write(torn)
    with Journal(tmp_path, IDENTITY_A) as journal:
        assert list(journal.finished) == [Key("teacher", 10, 0)]
        journal.append(episode(1))
    with Journal(tmp_path, IDENTITY_A) as journal:
        assert list(journal.finished) == [Key("teacher", 10, 0), Key("teacher", 10, 1)]


def test_a_journal_of_before_delays_is_read_and_goes_on(tmp_path):
    """Its lines knew neither delay nor number of actions; the identity had that number, for all."""
    line = {"contender": "teacher", "num_steps": 10, "seed": 0, "success": True}
    line |= {"max_reward": 4.0, "sum_reward": 20.5, "length": 75}
    for number, folder in ((None, tmp_path / "own"), (5, tmp_path / "five")):
        folder.mkdir()
        (folder / EPISODES).write_text(json.dumps(line) + "\n")
        (folder / IDENTITY).write_text(json.dumps({**IDENTITY_A, "n_action_steps": number}))
        before, late = episode(0, n_action_steps=number), episode(0, n_action_steps=7, delay=3)
        assert read_episodes(folder) == [before]
        with Journal(folder, {**IDENTITY_A, "delayed": {"idle": "hold"}}) as journal:
            assert list(journal.finished.values()) == [before]
            journal.append(late)
        with Journal(folder, IDENTITY_A) as journal:
            assert journal.finished == {before.key: before, late.key: late}
        with pytest.raises(OtherEvaluationError, match=r"delayed\.idle: hold there, \[0\] now"):
            Journal(folder, {**IDENTITY_A, "delayed": {"idle": [0]}}).__enter__()


def test_an_episode_played_again_counts_once(tmp_path):
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0, length=1))
        journal.append(episode(0, length=2))
    with Journal(tmp_path, IDENTITY_A) as journal:
        assert [found.length for found in journal.finished.values()] == [2]


def test_refuses_another_evaluation_and_names_what_differs(tmp_path):
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0))
    other = {
        "env": {"type": "pick", "episode_length": 400},
        "noise_seed": 8,
        "policies": {"teacher": {"fingerprint": "bb"}},
    }
    with (
        pytest.raises(OtherEvaluationError, match="Choose another output folder") as caught,
        Journal(tmp_path, other),
    ):
        pass
    for line in (
        "env.episode_length: 150 there, 400 now",
        "noise_seed: 7 there, 8 now",
        "policies.teacher.fingerprint: aa there, bb now",
    ):
        assert line in str(caught.value)
    with Journal(tmp_path, IDENTITY_A) as journal:  # and nothing was changed by the attempt
        assert len(journal.finished) == 1


def test_takes_in_another_policy_but_never_swaps_one(tmp_path):
    student = {**IDENTITY_A, "policies": {"student": {"fingerprint": "cc"}}}
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0))
    with Journal(tmp_path, student) as journal:
        journal.append(episode(0, contender="student"))
    assert set(json.loads((tmp_path / IDENTITY).read_text())["policies"]) == {"teacher", "student"}
    swapped = {**IDENTITY_A, "policies": {"student": {"fingerprint": "aa"}}}
    with pytest.raises(OtherEvaluationError, match=r"policies\.student\.fingerprint: cc there, aa now"):
        Journal(tmp_path, swapped).__enter__()


def test_what_never_finished_an_episode_stands_in_nobodys_way(tmp_path):
    with Journal(tmp_path, IDENTITY_A):
        pass
    with Journal(tmp_path, {**IDENTITY_A, "noise_seed": 8}) as journal:
        assert journal.finished == {}


def test_one_process_at_a_time(tmp_path):
    with (
        Journal(tmp_path, IDENTITY_A),
        pytest.raises(BlockingIOError, match=r"another process is writing .*episodes\.jsonl"),
    ):
        Journal(tmp_path, IDENTITY_A).__enter__()


@pytest.mark.parametrize("line", ["no json", '{"seed": 1}', "3"])
def test_a_line_that_is_no_episode_is_named(tmp_path, line):
    with Journal(tmp_path, IDENTITY_A) as journal:
        journal.append(episode(0))
    with open(tmp_path / EPISODES, "a") as file:
        file.write(line + "\n")
    with pytest.raises(ValueError, match=r"episodes.jsonl, line 2 is no episode .* Remove that line"):
        Journal(tmp_path, IDENTITY_A).__enter__()


def test_episodes_of_nobody_knows_what_are_left_alone(tmp_path):
    (tmp_path / EPISODES).write_text('{"seed": 1}\n')
    with pytest.raises(OtherEvaluationError, match=r"episodes.identity.json beside it is missing"):
        Journal(tmp_path, IDENTITY_A).__enter__()
