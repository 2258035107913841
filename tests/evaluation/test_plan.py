"""A plan is written before the first episode, held to afterwards, and anew only on fresh seeds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from reflow.errors import UserError
from reflow.evaluation.plan import PLANS, OtherPlanError, Plan, keep_plan, plan_in, played_otherwise
from reflow.evaluation.selection import SeenSeedsError, check_unseen
from reflow.files import write_json
from reflow.metrics.paired_plan import PairedPlan
from reflow.simulator.journal import EPISODES, IDENTITY, Episode, read_episodes

WANTED = Plan(100_000, PairedPlan(50), student_steps=1, teacher_steps=10)


def played(*seeds: int) -> list[Episode]:
    return [Episode("teacher", 10, seed, True, 4.0, 9.0, 80) for seed in seeds]


def test_it_is_written_with_what_was_assumed(tmp_path: Path) -> None:
    assert plan_in(tmp_path, WANTED, []) == (WANTED, True)
    assert not (tmp_path / PLANS).exists()  # asked, not kept
    assert keep_plan(tmp_path, WANTED, []) == WANTED
    (written,) = json.loads((tmp_path / PLANS).read_text())
    assert written == {
        "first_seed": 100_000, "pairs": 50, "margin": 0.02, "alpha": 0.025, "discordance": 0.12,
        "expected_difference": 0.0,
        "power": WANTED.paired.power, "student_steps": 1, "teacher_steps": 10, "played_before": 0,
    }  # fmt: skip
    assert plan_in(tmp_path, WANTED, played(100_000)) == (WANTED, False)
    assert WANTED.sentences() == (WANTED.paired.sentence(),)
    assert WANTED.sentences()[0].startswith("Planned beforehand: 50 pairs, for a power of ")


def test_until_something_is_played_it_may_be_changed(tmp_path: Path) -> None:
    keep_plan(tmp_path, WANTED, [])
    other = replace(WANTED, paired=PairedPlan(80, margin=0.05))
    assert keep_plan(tmp_path, other, []) == other
    assert len(json.loads((tmp_path / PLANS).read_text())) == 1


def test_fewer_episodes_are_a_part_of_it(tmp_path: Path) -> None:
    keep_plan(tmp_path, WANTED, [])
    fewer = replace(WANTED, paired=PairedPlan(10, discordance=0.3))
    assert keep_plan(tmp_path, fewer, played(100_000)) == WANTED


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"paired": PairedPlan(51)},
            r"episodes: 50 planned, 51 now\n.*plan anew on fresh seeds: first_seed=100050",
        ),
        ({"paired": PairedPlan(50, margin=0.05)}, r"margin: 0\.02 planned, 0\.05 now"),
        ({"student_steps": 2}, r"first of student_steps: 1 planned, 2 now"),
        ({"teacher_steps": 1}, r"first of teacher_steps: 10 planned, 1 now"),
        (
            {"first_seed": 100_049},
            r"first_seed=100049: the seeds 100049 to 100098 are in part those .*100050",
        ),
        ({"first_seed": 99_999}, r"first_seed=99999: the seeds 99999 to 100048 are in part those"),
    ],
)
def test_once_something_is_played_it_is_not_changed(tmp_path: Path, changed: dict, message: str) -> None:
    keep_plan(tmp_path, WANTED, [])
    before = (tmp_path / PLANS).read_bytes()
    for ask in (plan_in, keep_plan):
        with pytest.raises(OtherPlanError, match=f"(?s){message}"):
            ask(tmp_path, replace(WANTED, **changed), played(100_003))
    assert (tmp_path / PLANS).read_bytes() == before


def test_a_further_plan_on_fresh_seeds_says_which_it_is(tmp_path: Path) -> None:
    keep_plan(tmp_path, WANTED, [])
    seen = played(100_000)
    second = keep_plan(tmp_path, replace(WANTED, first_seed=100_050), seen)
    assert second.number == 2
    assert "This is plan 2 of its folder" in second.sentences()[1]
    seen += played(100_050)
    assert plan_in(tmp_path, WANTED, seen) == (WANTED, False)
    assert plan_in(tmp_path, replace(WANTED, first_seed=100_050), seen) == (second, False)
    with pytest.raises(OtherPlanError, match=r"first_seed=100100"):
        plan_in(tmp_path, replace(WANTED, paired=PairedPlan(60)), seen)


def test_a_plan_made_after_its_episodes_says_so(tmp_path: Path) -> None:
    late = keep_plan(tmp_path, WANTED, played(99_000, 100_000, 100_001))
    assert late.played_before == 2
    assert late.sentences()[1].startswith("The plan was made after 2 of its episodes had been played")
    assert plan_in(tmp_path, WANTED, played(100_000)) == (late, False)


def test_other_numbers_of_actions_on_its_seeds_are_said() -> None:
    own, four, late = (
        replace(played(seed)[0], n_action_steps=n, delay=delay)
        for seed, n, delay in ((100_000, None, 0), (100_049, 4, 0), (100_001, 8, 3))
    )
    assert played_otherwise(WANTED, [own, late], None) == ()
    assert played_otherwise(WANTED, [replace(four, seed=100_050)], None) == ()  # of another plan
    (said,) = played_otherwise(WANTED, [own, four, late], 25)
    assert said.startswith("Its seeds were also played with n_action_steps=null, 4: of several tests")


@pytest.mark.parametrize("content", [[1], [{"pairs": 3}], [{"first_seed": 1, "pears": 3}]])
def test_a_file_that_holds_no_plans(tmp_path: Path, content: list) -> None:
    write_json(tmp_path / PLANS, content)
    with pytest.raises(UserError, match=r"plans\.json holds no plans .*copy it anew"):
        plan_in(tmp_path, WANTED, [])


PICK = {"type": "pick", "task": "pick", "episode_length": 150}


def test_seeds_that_the_training_run_played_are_refused(tmp_path: Path) -> None:
    folder = tmp_path / "simulator"
    check_unseen(tmp_path, PICK, range(100_000, 100_050))  # it played nothing
    write_json(folder / IDENTITY, {"env": PICK | {"episode_length": 200}})
    lines = [json.dumps(vars(episode)) for episode in played(*range(100_040, 100_060))]
    (folder / EPISODES).write_text(
        "\n".join(lines) + '\n{"contender": "stud'
    )  # killed in the middle of a line
    assert [episode.seed for episode in read_episodes(folder)] == list(range(100_040, 100_060))
    with pytest.raises(
        SeenSeedsError,
        match=r"10 of the 50 seeds \(100040, \.\.\.\) are those .*Report on others: first_seed=100060",
    ):
        check_unseen(tmp_path, PICK, range(100_000, 100_050))
    check_unseen(tmp_path, PICK, range(100_060, 100_110))
    check_unseen(tmp_path, PICK | {"type": "aloha"}, range(100_000, 100_050))  # other starts
    check_unseen(None, PICK, range(100_000, 100_050))
