"""Frames against LeRobotDataset itself: the same pixels, states, tasks and action chunks, to the last bit."""

from pathlib import Path
from typing import Any

import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import SAMPLE, VISIT, Frames, Visit
from tests.builders import TASKS, TOP, make_dataset, repo_id

from .conftest import LENGTHS

STATE = "observation.state"


def read(root: Path, episodes: list[int] | None = None, chunk_size: int | None = None) -> LeRobotDataset:
    deltas = None if chunk_size is None else {"action": [step / 10 for step in range(chunk_size)]}
    return LeRobotDataset(repo_id(root), root=root, episodes=episodes, delta_timestamps=deltas)


def assert_same(got: dict[str, Any], expected: dict[str, Any]) -> None:
    assert got.keys() == expected.keys()
    for key, value in got.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == expected[key].dtype, key
            assert torch.equal(value, expected[key]), key
        else:
            assert value == expected[key], key


@pytest.mark.parametrize("episodes", [None, [1], [0, 3], [3, 1]])
def test_a_frame_is_lerobot_s_own(demos, episodes):
    dataset = read(demos, episodes)
    frames = Frames(dataset)
    assert len(frames) == sum(LENGTHS[episode] for episode in episodes or range(4)) == len(dataset)
    for row in range(len(frames)):
        item, stock = frames[Visit(row, 2)], dataset[row]
        assert item.keys() == {TOP, STATE, "task", SAMPLE, VISIT}
        assert_same(
            {key: item[key] for key in (TOP, STATE, "task")}, {k: stock[k] for k in (TOP, STATE, "task")}
        )
        assert (item[SAMPLE], item[VISIT]) == (stock["index"], 2)


def test_only_the_chosen_episodes_are_read(demos):
    """Told by the rows' own identity, against the lengths the data set was made with."""
    starts = [sum(LENGTHS[:episode]) for episode in range(5)]
    samples = Frames(read(demos, [3, 1])).samples.tolist()
    assert samples == [*range(starts[1], starts[2]), *range(starts[3], starts[4])]
    assert {Frames(read(demos, [1]))[row]["task"] for row in range(LENGTHS[1])} == {TASKS[1]}


@pytest.mark.parametrize(("episodes", "chunk_size"), [(None, 8), ([0, 2], 5), ([3], 40), ([1], 1)])
def test_action_chunks_are_lerobot_s_own(demos, episodes, chunk_size):
    stock = read(demos, episodes, chunk_size)
    frames = Frames(read(demos, episodes), chunk_size)
    padded = 0
    for row in range(len(frames)):
        item, expected = frames[row], stock[row]
        assert_same(
            {key: item[key] for key in ("action", "action_is_pad")},
            {key: expected[key] for key in ("action", "action_is_pad")},
        )
        padded += int(item["action_is_pad"].sum())
    assert (padded > 0) == (chunk_size > 1)


def test_preloaded_frames_are_the_decoded_ones(demos):
    decoded, preloaded = Frames(read(demos), 4), Frames(read(demos), 4, preload=True)
    preloaded.dataset = None  # whatever comes now comes from memory
    for visit in range(2):  # and may be asked for again
        for row in range(len(decoded)):
            assert_same(preloaded[Visit(row, visit)], decoded[Visit(row, visit)])


def test_preloaded_cameras_take_a_byte_a_value(demos):
    held = Frames(read(demos, [1]), preload=True)._decoded
    assert held is not None
    assert {item[TOP].dtype for item in held.values()} == {torch.uint8}


def test_what_eight_bits_cannot_hold_stays_as_it_is(demos):
    class Darker(Frames):
        def _decode(self, row: int) -> dict[str, Any]:
            item = super()._decode(row)
            return item | {TOP: item[TOP] / 3}

    decoded, preloaded = Darker(read(demos, [1])), Darker(read(demos, [1]), preload=True)
    for row in range(len(decoded)):
        assert_same(preloaded[row], decoded[row])


def test_a_plain_row_is_its_first_visit(demos):
    frames = Frames(read(demos, [0]))
    assert_same(frames[3], frames[Visit(3, 0)])


def test_several_cameras_are_all_there(tmp_path):
    cameras = (TOP, "observation.images.wrist")
    root = make_dataset(tmp_path / "two", cameras=cameras, episodes=1, frames=3)
    item, stock = Frames(read(root))[1], read(root)[1]
    for camera in cameras:
        assert torch.equal(item[camera], stock[camera])
    assert not torch.equal(item[TOP], item[cameras[1]])
