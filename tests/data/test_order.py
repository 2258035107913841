"""The order is a pure function of (seed, step): nothing is remembered, nothing is lost, nothing comes twice."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reflow.data import Order, StepSampler, Visit


def batches(order: Order, count: int, **sampler: int) -> list[list[Visit]]:
    return list(islice(StepSampler(order, **sampler), count))


@settings(max_examples=30, deadline=None)
@given(
    rows=st.integers(1, 40), seed=st.integers(0, 2**32), start=st.integers(0, 200), count=st.integers(1, 60)
)
def test_visits_are_a_slice_of_one_endless_order(rows, seed, start, count):
    order = Order(rows, seed)
    assert order.visits(start, count) == order.visits(0, start + count)[start:]


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 40), seed=st.integers(0, 2**32), epochs=st.integers(1, 4))
def test_every_row_comes_once_an_epoch_and_counts_its_visits(rows, seed, epochs):
    visits = Order(rows, seed).visits(0, rows * epochs)
    assert sorted(visits) == [(row, visit) for row in range(rows) for visit in range(epochs)]
    for epoch in range(epochs):
        assert {visit for _, visit in visits[epoch * rows : (epoch + 1) * rows]} == {epoch}


def test_seeds_and_epochs_are_shuffled_differently():
    order, other = Order(50, 0), Order(50, 1)
    permutations = [order.epoch(0), order.epoch(1), other.epoch(0), other.epoch(1), np.arange(50)]
    assert len({tuple(permutation) for permutation in permutations}) == 5


def test_the_global_generators_neither_matter_nor_change():
    np.random.seed(1)
    first, state = Order(20, 3).visits(5, 30), np.random.get_state()[1].tolist()
    np.random.seed(2)
    assert Order(20, 3).visits(5, 30) == first
    np.random.seed(1)
    assert np.random.get_state()[1].tolist() == state


def test_the_order_is_pinned():
    """Another order would part a resumed run from what it has already seen."""
    assert [row for row, _ in Order(8, 42).visits(0, 16)] == [1, 3, 5, 7, 4, 6, 0, 2, 6, 7, 2, 1, 0, 3, 4, 5]


@pytest.mark.parametrize("first_step", [0, 1, 3, 11])
def test_a_run_that_goes_on_sees_what_it_would_have_seen(first_step):
    order = Order(10, 7)  # 4 does not divide 10: batches run across epochs
    whole = batches(order, first_step + 5, batch_size=4)
    assert batches(order, 5, batch_size=4, first_step=first_step) == whole[first_step:]


@pytest.mark.parametrize("world_size", [2, 3])
def test_ranks_share_each_step_between_them(world_size):
    order = Order(11, 0)
    alone = batches(order, 6, batch_size=2 * world_size, first_step=1)
    shares = [
        batches(order, 6, batch_size=2, first_step=1, rank=rank, world_size=world_size)
        for rank in range(world_size)
    ]
    for step, whole in enumerate(alone):
        assert [visit for share in shares for visit in share[step]] == whole


def test_a_sampler_starts_anew_each_time():
    sampler = StepSampler(Order(10, 0), 3)
    assert list(islice(sampler, 4)) == list(islice(sampler, 4))


@pytest.mark.parametrize("batch_size", [0, -1])
def test_refuses_an_empty_batch(batch_size):
    with pytest.raises(ValueError, match=f"data.batch_size is {batch_size}; allowed: 1 or more"):
        StepSampler(Order(10, 0), batch_size)
