"""Samples as runs, shards as arithmetic."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reflow.endpoints import Layout, Samples

LAYOUT = Layout(Samples(((0, 5), (8, 21))), 7, 3, 2, ((0, 4),))


@given(st.sets(st.integers(0, 60)), st.lists(st.integers(0, 70), min_size=1))
def test_places_are_those_of_the_sorted_list(numbers: set[int], asked: list[int]) -> None:
    samples = Samples.of(torch.tensor(list(numbers), dtype=torch.long))
    ordered = sorted(numbers)
    assert samples.numbers().tolist() == ordered
    assert len(samples) == len(ordered)
    expected = [ordered.index(number) if number in numbers else -1 for number in asked]
    assert samples.places(torch.tensor(asked)).tolist() == expected


def test_runs_are_as_long_as_they_can_be() -> None:
    assert Samples.of(torch.tensor([7, 3, 2, 9, 8, 2])).runs == ((2, 4), (7, 10))


def test_shards_hold_every_sample_once_and_in_order() -> None:
    assert LAYOUT.num_shards == 3
    assert [LAYOUT.size(shard) for shard in range(3)] == [7, 7, 4]
    portions = [LAYOUT.portions(shard) for shard in range(3)]
    assert [[len(samples) for samples in shard] for shard in portions] == [[3, 3, 1], [3, 3, 1], [3, 1]]
    assert torch.equal(torch.cat([torch.cat(shard) for shard in portions]), LAYOUT.samples.numbers())


def test_more_is_added_and_nothing_is_moved() -> None:
    assert LAYOUT.extended(4, {}) == LAYOUT == LAYOUT.extended(2, {})
    more = LAYOUT.extended(9, {"vision": "bfloat16"})
    assert more.blocks == ((0, 4), (4, 9))
    assert more.folders == ("draws-00000-00004", "draws-00004-00009", "vision")
    assert set(LAYOUT.files) < set(more.files)
    assert Layout.from_json(more.as_json()) == more


def test_a_store_stays_in_its_precision() -> None:
    with pytest.raises(ValueError, match=r"store_precision=float32, but this cache holds vision in float16"):
        LAYOUT.extended(4, {"vision": "float16"}).extended(4, {"vision": "float32"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stores": {"images": "float32"}}, "store=images; allowed: vision, prefix, or null"),
        ({"stores": {"vision": "int8"}}, "store_precision=int8; allowed: float32, bfloat16, float16"),
        ({"samples_per_shard": 0}, "samples_per_shard is 0; allowed: 1 or more"),
    ],
)
def test_what_cannot_be_is_refused(changes: dict, message: str) -> None:
    values = {"samples": LAYOUT.samples, "samples_per_shard": 7, "batch_size": 3, "draws_at_once": 2}
    with pytest.raises(ValueError, match=message):
        Layout(**(values | {"blocks": ((0, 4),)} | changes))
