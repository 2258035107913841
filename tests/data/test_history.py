"""Observations of several frames, and chunks that begin in the past: LeRobotDataset's own, to the last bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import Frames
from tests.builders import TOP, make_dataset, repo_id

FPS = 10
STATE = "observation.state"


@pytest.fixture(scope="module")
def filmed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "filmed", frames=(5, 7), episodes=2, video=True)


def read(root: Path, **deltas: Any) -> LeRobotDataset:
    times = {key: [step / FPS for step in steps] for key, steps in deltas.pop("deltas", {}).items()}
    return LeRobotDataset(
        repo_id(root), root=root, delta_timestamps=times or None, video_backend="pyav", **deltas
    )


@pytest.mark.parametrize("preload", [False, True])
@pytest.mark.parametrize(
    ("which", "observed", "episodes"),
    [("demos", [-1, 0], None), ("demos", [-2, -1, 0], [1, 3]), ("filmed", [-1, 0], None)],
)
def test_frames_of_the_past_are_lerobot_s_own(request, which, observed, episodes, preload):
    root = request.getfixturevalue(which)
    steps = range(observed[0], observed[0] + 8)
    deltas = {STATE: observed, TOP: observed, "action": list(steps)}
    stock = read(root, episodes=episodes, deltas=deltas)
    frames = Frames(
        read(root, episodes=episodes), 8, preload=preload, observed=observed, first_action=observed[0]
    )
    assert len(frames) == len(stock)
    padded = 0
    for row in range(len(frames)):
        ours, theirs = frames[row], stock[row]
        for key in (STATE, TOP, "action", "action_is_pad"):
            assert ours[key].dtype == theirs[key].dtype
            assert torch.equal(ours[key], theirs[key]), (row, key)
        assert ours["task"] == theirs["task"]
        padded += int(ours["action_is_pad"][0])
    assert ours[TOP].shape[0] == len(observed)
    assert padded == -observed[0] * len(set(frames.owners))  # what lies before an episode is padding too


def test_without_cameras_the_states_are_the_same(demos):
    dataset = read(demos)
    every = Frames(dataset, observed=[-1, 0])
    words = Frames(dataset, reading="words", observed=[-1, 0])
    for row in (0, 1, 12, 20):
        assert torch.equal(words[row][STATE], every[row][STATE])
        assert words[row]["task"] == every[row]["task"]
        assert TOP not in words[row]
    assert Frames(dataset, reading="identity", observed=[-1, 0])[3].keys() == {"sample", "visit"}


def test_one_observation_has_no_dimension_of_its_own(demos):
    dataset = read(demos)
    one, plain = Frames(dataset, 4, observed=[0])[5], Frames(dataset, 4)[5]
    assert one.keys() == plain.keys()
    assert all(torch.equal(one[key], plain[key]) for key in one if key != "task")
