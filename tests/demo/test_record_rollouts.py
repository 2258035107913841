"""What a playing policy saw is recorded as it saw it, and depends on the configuration alone."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.data.recording import Recorded, write_dataset
from reflow.data.shrink import shrink_frame
from reflow.demo import embedded
from reflow.demo.dataset import BOX, PICK
from reflow.demo.record_rollouts import Recorder, RolloutConfig, rollouts
from reflow.demo.scene import PickScene
from reflow.simulator.actor import Contender
from tests.demo.test_record import read

CONFIG = RolloutConfig(
    root=Path("unused"),
    policy=embedded.TEACHER,
    episodes=2,
    seed=1000,
    steps=(1, 2),
    looks=2,
    between=1,
    processes=1,
)


@pytest.fixture(scope="module")
def recorder() -> Recorder:
    return Recorder(CONFIG)


@pytest.fixture(scope="module")
def rollout(recorder: Recorder) -> Recorded:
    return recorder(1000)


def test_each_chunk_gives_its_look_and_what_lies_between(rollout: Recorded) -> None:
    assert len(rollout.told["at"]) == 4
    assert (rollout.told["at"][0], rollout.told["at"][2]) == (0, 50)
    assert 0 < rollout.told["at"][1] < 50 < rollout.told["at"][3] < 100
    assert rollout.frames.shape == (4, 72, 96, 3)
    assert rollout.states.dtype == rollout.actions.dtype == np.float32


def test_what_is_recorded_was_seen_and_done(recorder: Recorder, rollout: Recorded) -> None:
    """The actions of its own chunk, played again in the bare scene, lead to the frames and states recorded."""
    seeds = np.random.default_rng(1000)
    contender = Contender("policy", CONFIG.policy, int(seeds.choice(CONFIG.steps)))
    _, actions = recorder.player.play(contender, 1000)
    scene = PickScene()
    scene.reset(1000)
    for step in range(rollout.told["at"][1] + 1):
        if step in rollout.told["at"]:
            row = rollout.told["at"].index(step)
            assert np.array_equal(rollout.frames[row], shrink_frame(scene.render(), BOX))
            assert np.array_equal(rollout.states[row], scene.state().astype(np.float32))
            assert np.array_equal(rollout.actions[row], actions[step])
        scene.step(actions[step].astype(np.float64))


def test_the_number_of_steps_changes_what_is_played(rollout: Recorded) -> None:
    other = Recorder(replace(CONFIG, steps=(10,)))(1000)
    assert np.array_equal(other.frames[0], rollout.frames[0])
    assert not np.allclose(other.actions[0], rollout.actions[0], atol=1e-2)


def test_an_episode_depends_on_its_seed_alone(recorder: Recorder, rollout: Recorded) -> None:
    other = recorder(1001)
    again = recorder(1000)
    assert not np.array_equal(other.states, again.states)
    assert again.told == rollout.told
    for name in ("frames", "states", "actions"):
        assert np.array_equal(getattr(again, name), getattr(rollout, name))


def test_it_is_written_as_a_data_set(rollout: Recorded, tmp_path: Path) -> None:
    dataset = read(write_dataset(tmp_path / "rollouts", PICK, [rollout]))
    assert (dataset.num_episodes, dataset.num_frames) == (1, 4)
    item = dataset[2]
    assert torch.equal(item[OBS_STATE], torch.from_numpy(rollout.states[2]))
    assert torch.equal(item[ACTION], torch.from_numpy(rollout.actions[2]))
    assert np.array_equal((item[PICK.camera].permute(1, 2, 0) * 255).round().numpy(), rollout.frames[2])


@pytest.mark.slow
def test_worker_processes_play_the_same_episodes(rollout: Recorded) -> None:
    played = list(rollouts(replace(CONFIG, processes=2)))
    assert [one.seed for one in played] == [1000, 1001]
    assert np.array_equal(played[0].frames, rollout.frames)
    assert np.array_equal(played[0].actions, rollout.actions)


@pytest.mark.slow
def test_the_command_records_with_worker_processes(rollout: Recorded, tmp_path: Path) -> None:
    """They run its file as their main module, which no test within a process does."""
    words = ["run_dir=rollouts", "episodes=1", "seed=1000", "steps=[1,2]", "looks=2", "processes=1"]
    command = [sys.executable, "-m", "reflow.demo.record_rollouts", *words]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    dataset = read(tmp_path / "rollouts")
    actions = np.stack([dataset[row][ACTION].numpy() for row in range(len(dataset))])
    assert np.array_equal(actions, rollout.actions)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"episodes": 0}, "episodes=0; allowed: 1 or more"),
        ({"seed": -1}, "seed=-1; allowed: 0 or more"),
        ({"looks": 0}, "looks=0; allowed: 1 or more"),
        ({"between": -1}, "between=-1; allowed: 0 or more"),
        ({"processes": 0}, "processes=0; allowed: 1 or more"),
        ({"steps": ()}, r"steps=\[\]; allowed: one or more numbers, each 1 or more"),
        ({"steps": (10, 0)}, r"steps=\[10, 0\]"),
    ],
)
def test_what_cannot_be_recorded_is_said(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(CONFIG, **changes)
