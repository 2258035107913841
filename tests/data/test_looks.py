"""Frames near a look come up more often, and every time under an identity of their own."""

from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset

from reflow.data import SAMPLE, VISIT, Frames, Looks, Order, StepSampler, Visit
from tests.builders import make_dataset, repo_id

LENGTHS = (13, 9)
EVERY, WITHIN, TIMES = 5, 1, 3
# frame 0, 1 | 4, 5, 6 | 9, 10, 11 of the first episode, 0, 1 | 4, 5, 6 of the second, which starts at row 13
NEAR = {0, 1, 4, 5, 6, 9, 10, 11, 13, 14, 17, 18, 19}


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Frames:
    root: Path = make_dataset(tmp_path_factory.mktemp("data") / "demos", episodes=2, frames=LENGTHS)
    return Frames(LeRobotDataset(repo_id(root), root=root), 4, preload=True)


def epochs(frames: Looks, count: int) -> list[tuple[int, int]]:
    """(sample, visit) of everything that training meets in so many epochs."""
    batches = StepSampler(Order(len(frames), 0), batch_size=1)
    items = (frames[visit] for batch in islice(batches, count * len(frames)) for visit in batch)
    return [(int(item[SAMPLE]), int(item[VISIT])) for item in items]


def test_near_frames_come_several_times_an_epoch_and_the_others_once(frames):
    met = Counter(sample for sample, _ in epochs(Looks(frames, EVERY, WITHIN, TIMES), 1))
    assert met == {row: TIMES if row in NEAR else 1 for row in range(sum(LENGTHS))}


def test_no_identity_comes_twice(frames):
    """Else some noise would be trained on again and again while others are never met."""
    looks = Looks(frames, EVERY, WITHIN, TIMES)
    met = epochs(looks, 4)
    assert len(set(met)) == len(met) == 4 * len(looks)
    for draws in (1, 4):  # as the training counts its draws
        drawn = Counter((sample, visit * draws + k) for sample, visit in met for k in range(draws))
        assert set(drawn.values()) == {1}


def test_once_changes_nothing(frames):
    looks = Looks(frames, EVERY, WITHIN, 1)
    assert len(looks) == len(frames)
    visits = Order(len(frames), 1).visits(0, 2 * len(frames))
    assert [looks[visit][SAMPLE] for visit in visits] == [frames[visit][SAMPLE] for visit in visits]
    assert [looks[visit][VISIT] for visit in visits] == [visit.visit for visit in visits]


def test_a_look_is_the_frame_itself(frames):
    looks = Looks(frames, EVERY, WITHIN, TIMES)
    for row in range(len(looks)):
        item = looks[Visit(row, 2)]
        stored = frames[Visit(int(item[SAMPLE]), int(item[VISIT]))]
        assert item.keys() == stored.keys()
        for key, value in item.items():
            assert (
                torch.equal(value, stored[key]) if isinstance(value, torch.Tensor) else value == stored[key]
            )


@pytest.mark.parametrize(("within", "times"), [(1, 0), (1, -2), (-1, 3)])
def test_refuses_what_would_lose_frames(frames, within, times):
    with pytest.raises(
        ValueError,
        match=rf"data.look_times is {times}, data.look_within {within}; allowed: times 1 or more, within 0 or more",
    ):
        Looks(frames, EVERY, within, times)


def test_a_plain_row_is_the_first_time_round(frames):
    """As the held-out loader asks; each coming of a frame still has a visit of its own."""
    looks = Looks(frames, EVERY, WITHIN, TIMES)
    met = [(int(looks[row][SAMPLE]), int(looks[row][VISIT])) for row in range(len(looks))]
    assert met == [
        (row, visit) for row in range(sum(LENGTHS)) for visit in range(TIMES if row in NEAR else 1)
    ]
