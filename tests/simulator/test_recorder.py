"""What a playing policy saw is recorded as it saw it, and a recording goes on where it stopped."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.config.rollouts import Rollouts
from reflow.data.recording import Recorded
from reflow.data.shrink import shrink_frame
from reflow.data.waiting import WaitingEpisodes
from reflow.demo import embedded
from reflow.demo.dataset import BOX, CAMERA
from reflow.demo.pick_env import pick_environment
from reflow.demo.scene import PickScene
from reflow.errors import UserError
from reflow.rollouts import record
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.recorder import Recorder, Watching
from tests.distill.conftest import composed

WATCHING = Watching(steps=(1, 2), looks=2, between=1, box=BOX)
CONDITIONS = Conditions(pick_environment(), noise_seed=1000)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder(CONDITIONS, embedded.TEACHER, WATCHING)


@pytest.fixture(scope="module")
def rollout(recorder: Recorder) -> Recorded:
    return recorder(1000)


def asked(root: Path, *overrides: str) -> Rollouts:
    small = ("env=pick", "episodes=2", "seed=1000", "steps=[1,2]", "looks=2", f"box={BOX}", "processes=0")
    return Rollouts.from_config(composed(*small, f"run_dir={root}", *overrides, config_name="rollouts"))


def test_each_look_is_kept_and_what_lies_between(rollout: Recorded) -> None:
    at = rollout.told["at"]
    assert len(at) == 4
    assert (at[0], at[2]) == (0, 50)
    assert 0 < at[1] < 50 < at[3] < 100
    assert rollout.frames[CAMERA].shape == (4, 72, 96, 3)
    assert rollout.states.dtype == rollout.actions.dtype == np.float32
    assert rollout.task == "pick up the cube"


def test_what_is_recorded_was_seen_and_done(recorder: Recorder, rollout: Recorded) -> None:
    """The actions of its own chunk, played again in the bare scene, lead to the frames and states recorded."""
    seeds = np.random.default_rng(1000)
    seeds.integers(1, 2, 0)
    contender = Contender("policy", embedded.TEACHER, int(seeds.choice(WATCHING.steps)))
    _, actions = recorder.player.play(contender, 1000)
    scene = PickScene()
    scene.reset(1000)
    for step in range(rollout.told["at"][1] + 1):
        if step in rollout.told["at"]:
            row = rollout.told["at"].index(step)
            assert np.array_equal(rollout.frames[CAMERA][row], shrink_frame(scene.render(), BOX))
            assert np.array_equal(rollout.states[row], scene.state().astype(np.float32))
            assert np.array_equal(rollout.actions[row], actions[step])
        scene.step(actions[step].astype(np.float64))


def test_frames_are_whole_where_nothing_else_is_said(recorder: Recorder, rollout: Recorded) -> None:
    whole = Recorder(CONDITIONS, embedded.TEACHER, replace(WATCHING, box=None, looks=1, between=0))(1000)
    assert whole.frames[CAMERA].shape == (1, 480, 640, 3)
    assert np.array_equal(shrink_frame(whole.frames[CAMERA][0], BOX), rollout.frames[CAMERA][0])


def test_the_number_of_steps_changes_what_is_played(rollout: Recorded) -> None:
    own = Recorder(CONDITIONS, embedded.TEACHER, replace(WATCHING, steps=(), looks=1))(1000)
    ten = Recorder(CONDITIONS, embedded.TEACHER, replace(WATCHING, steps=(10,), looks=1))(1000)
    assert np.array_equal(ten.frames[CAMERA][0], rollout.frames[CAMERA][0])
    assert not np.allclose(ten.actions[0], rollout.actions[0], atol=1e-2)
    assert np.array_equal(own.actions, ten.actions)  # its own are ten


def test_an_episode_depends_on_its_seed_alone(recorder: Recorder, rollout: Recorded) -> None:
    other = recorder(1001)
    again = recorder(1000)
    assert not np.array_equal(other.states, again.states)
    assert again.told == rollout.told
    assert np.array_equal(again.frames[CAMERA], rollout.frames[CAMERA])
    assert np.array_equal(again.states, rollout.states)
    assert np.array_equal(again.actions, rollout.actions)


def test_the_command_writes_a_data_set_and_goes_on_where_it_stopped(
    rollout: Recorded, tmp_path: Path
) -> None:
    root = tmp_path / "set"
    waiting = WaitingEpisodes(root, asked(root).identity)
    waiting.begin()
    mark = replace(rollout, states=rollout.states + 1.0)
    waiting.add("1000", mark)  # as if it had been stopped after the first episode
    record(asked(root))
    assert not waiting.folder.exists()
    dataset = LeRobotDataset("local/set", root=root)
    assert dataset.num_episodes == 2
    item = dataset[2]
    assert torch.equal(
        item[OBS_STATE], torch.from_numpy(mark.states[2])
    )  # what was there was not played again
    assert torch.equal(item[ACTION], torch.from_numpy(rollout.actions[2]))
    assert item["task"] == rollout.task
    assert np.array_equal((item[CAMERA].permute(1, 2, 0) * 255).round().numpy(), rollout.frames[CAMERA][2])


def test_episodes_of_another_recording_are_not_mixed_in(rollout: Recorded, tmp_path: Path) -> None:
    root = tmp_path / "set"
    waiting = WaitingEpisodes(root, asked(root).identity)
    waiting.begin()
    waiting.add("1000", rollout)
    with pytest.raises(
        UserError, match=r"episodes of another recording: between was 1, is 2\. Say what it was"
    ):
        record(asked(root, "between=2"))
    with pytest.raises(UserError, match=r"policy was .*, is .*"):
        record(asked(root, "policy=embedded/student"))
    assert "1000" in waiting


@pytest.mark.slow
def test_the_command_with_worker_processes_plays_the_same_episodes(tmp_path: Path) -> None:
    """They run its file as their main module, which no test within a process does."""
    one, two = record(asked(tmp_path / "one")), tmp_path / "two"
    words = ["env=pick", "episodes=2", "seed=1000", "steps=[1,2]", "looks=2", f"box={BOX}", f"run_dir={two}"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "reflow.rollouts", *words]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    files = sorted(path.relative_to(one) for path in one.rglob("*.parquet"))
    assert files == sorted(path.relative_to(two) for path in two.rglob("*.parquet"))
    first, second = (LeRobotDataset(f"local/{root.name}", root=root) for root in (one, two))
    for ours, theirs in zip(first, second, strict=True):
        assert all(torch.equal(ours[key], theirs[key]) for key in (CAMERA, OBS_STATE, ACTION))


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("episodes=0", r"episodes.*0"),
        ("seed=-1", r"seed.*-1"),
        ("looks=0", "looks=0; allowed: 1 or more"),
        ("between=-1", "between=-1; allowed: 0 or more"),
        ("box=0", "box=0; allowed: 1 or more"),
        ("processes=-1", r"processes.*-1"),
        ("steps=[10,0]", r"steps=\[10, 0\]; allowed: numbers, each 1 or more"),
    ],
)
def test_what_cannot_be_recorded_is_said(override: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        asked(tmp_path / "set", override)


def test_where_it_plays_must_be_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"env is null; say where the policy plays \(env=pick"):
        Rollouts.from_config(composed(f"run_dir={tmp_path / 'set'}", config_name="rollouts"))


def test_a_folder_that_exists_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="exists already"):
        record(asked(tmp_path))
