"""The experts are recorded as a deployed policy would see them, clean of pushes, and each seed by itself."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow import cli
from reflow.data.recording import EPISODES_FILE, Recorded
from reflow.demo.record_metaworld import CAMERA, ExpertsConfig, Stage, from_hydra, record
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.looking import Observation
from reflow.simulator.metaworld import Pushes
from reflow.simulator.rollout import Player
from tests.demo.test_record import read

pytest.importorskip("metaworld")

TASK, SEED = "handle-press-v3", 4
CLEAN = Pushes(share=0.0)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    stage = Stage(CLEAN, 96)
    yield stage
    stage.close()


@pytest.fixture(scope="module")
def episode(stage: Stage) -> Recorded:
    return stage((SEED, TASK))


class Again:
    """Plays recorded commands, and looks before each of them, as a policy of one action a chunk does."""

    name, num_steps, memory = "again", 0, 1

    def __init__(self, commands: np.ndarray) -> None:
        self.commands, self.seen = commands, []

    def start(self, seed: int) -> None:
        self.rest = iter(self.commands)

    def act(self, seen: Sequence[Observation], task: str, left: int) -> list[np.ndarray]:
        self.seen.append(seen[-1])
        self.task = task
        return [next(self.rest)]


def test_a_row_is_what_a_deployed_policy_sees_and_the_command_that_follows(episode: Recorded) -> None:
    assert episode.success
    assert episode.told == {"task": TASK}
    player = Player(Conditions(EnvironmentSettings("metaworld", {"task": TASK})))
    again = Again(episode.actions)
    played, actions = player.follow(again, SEED)
    player.close()
    assert (played.success, played.length) == (True, len(episode.actions))
    assert again.task == episode.task == "Press a handle down"
    assert np.array_equal(actions, episode.actions)
    assert np.array_equal(episode.frames[CAMERA], [seen["pixels"][0][2::5, 2::5] for seen in again.seen])
    assert np.array_equal(episode.states, [seen["agent_pos"][0].astype(np.float32) for seen in again.seen])


def test_blind_is_the_same_without_frames(stage: Stage, episode: Recorded) -> None:
    blind = stage.play(SEED, TASK, render=False)
    assert blind.frames is None
    assert np.array_equal(blind.actions, episode.actions)
    assert np.array_equal(blind.states, episode.states)


def test_a_push_moves_the_arm_and_not_the_label() -> None:
    """The script leads back, and its own command is what is recorded."""
    pushed = Stage(Pushes(share=1.0, size=0.5, steps=4), 96)
    with_pushes = [pushed.play(seed, TASK, render=False) for seed in range(3)]
    pushed.close()
    clean = Stage(CLEAN, 96)
    without = [clean.play(seed, TASK, render=False) for seed in range(3)]
    clean.close()
    for one, other in zip(with_pushes, without, strict=True):
        assert np.array_equal(one.actions[0], other.actions[0])  # of the same state, pushed or not
        assert (
            np.abs(one.states[5, :3] - other.states[5, :3]).max() > 0.005
        )  # m, after five steps of 0.01 at most
        assert np.abs(one.actions).max() <= 1
        assert one.success


def test_pushes_are_a_function_of_seed_and_step() -> None:
    pushes = Pushes(share=0.5, size=0.2, steps=4)
    drawn = np.stack([[pushes.at(seed, step) for step in range(400)] for seed in range(5)])
    assert np.array_equal(drawn[3, 17], pushes.at(3, 17))
    held = drawn.reshape(5, 100, 4, 4)
    assert np.array_equal(held, held[:, :, :1].repeat(4, axis=2))  # four steps each
    assert not drawn[..., 3].any()  # the gripper
    assert np.abs(drawn).max() <= 0.2
    # 500 fair coins: 0.5 +- 0.1 is more than four standard deviations.
    assert abs((held[:, :, 0, :3] != 0).all(-1).mean() - 0.5) < 0.1
    assert not Pushes(share=0.0).at(0, 0).any()


def test_a_failure_is_not_recorded(tmp_path: Path) -> None:
    config = ExpertsConfig(
        tmp_path / "demos", ("pick-place-v3",), 1, pushes=Pushes(1.0, 1.0, 50), processes=0
    )
    with pytest.raises(ValueError, match="there is no episode to write"):
        record(config)
    assert not config.root.exists()
    assert [path.name for path in tmp_path.iterdir()] == [
        ".demos.episodes"
    ]  # with more of them, it may yet be one


@pytest.mark.slow
def test_the_command_records_the_same_with_worker_processes(tmp_path: Path, stage: Stage) -> None:
    """Two episodes of two tasks on two processes, against the same ones played right here."""
    names = ("handle-press-v3", "reach-v3")
    words = f"run_dir=demos tasks=[{','.join(names)}] episodes=2 seed=7 pushes.share=0 processes=2".split()
    command = [sys.executable, "-m", "reflow.demo.record_metaworld", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dataset = read(tmp_path / "demos")
    assert (dataset.fps, dataset.meta.robot_type, dataset.meta.camera_keys) == (
        80,
        "sawyer",
        ["observation.image"],
    )
    summaries = json.loads((tmp_path / "demos" / EPISODES_FILE).read_text())
    jobs = [(7, names[0]), (7, names[1]), (8, names[0]), (8, names[1])]
    assert [(summary["seed"], summary["task"]) for summary in summaries] == jobs
    row = 0
    for number, job in enumerate(jobs):
        expected = stage.play(*job, render=number == 3)
        for step, (state, action) in enumerate(zip(expected.states, expected.actions, strict=True)):
            item = dataset[row]
            assert (item["episode_index"], item["task"]) == (number, expected.task)
            assert np.array_equal(item[OBS_STATE], state)
            assert np.array_equal(item[ACTION], action)
            if expected.frames is not None:
                levels = (item["observation.image"] * 255).round().permute(1, 2, 0).numpy()
                assert np.array_equal(levels, expected.frames[CAMERA][step])
            row += 1
    assert row == len(dataset)


def test_the_shipped_configuration_holds_the_defaults_of_the_code() -> None:
    shipped = from_hydra(cli.composed("record_metaworld", "run_dir=here"))
    assert shipped == ExpertsConfig(Path("here"), shipped.tasks, 50)
    assert len(shipped.tasks) == 10


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "tasks=[drawer-open]",
            r"tasks=\['drawer-open'\]; allowed: one or more, each once, of .*'drawer-open-v3'",
        ),
        ("tasks=[reach-v3,reach-v3]", "each once"),
        ("tasks=[]", r"tasks=\[\]"),
        ("episodes=0", "episodes=0; allowed: 1 or more"),
        ("seed=-1", "seed=-1; allowed: 0 or more"),
        ("processes=-1", "processes=-1; allowed: 0 or more"),
        ("box=481", "box=481; allowed: 1 to 480 pixels"),
        ("pushes.share=1.5", "pushes.share=1.5; allowed: 0 to 1"),
        ("pushes.size=-0.1", "pushes.size=-0.1; allowed: 0 to 1"),
        ("pushes.steps=0", "pushes.steps=0; allowed: 1 control step or more"),
    ],
)
def test_what_cannot_be_recorded_is_said(override: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_hydra(cli.composed("record_metaworld", "run_dir=here", override))
