"""What every metric keeps: one reference on all data at once, however the data came in."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

Case = Any  # of conftest.py
CHUNKS = 24


@pytest.mark.parametrize("edges", [(0, CHUNKS), (0, 1, 2, CHUNKS), (0, 7, 8, 20, CHUNKS), range(CHUNKS + 1)])
def test_equals_numpy_on_all_data_however_it_is_split(case: Case, edges: tuple[int, ...] | range) -> None:
    data, metric = case.data(), case.metric()
    for start, stop in pairwise(edges):
        metric.update(**case.take(data, torch.arange(start, stop)))
    case.check(metric.compute(), data)


def test_order_does_not_matter(case: Case) -> None:
    data, metric = case.data(), case.metric()
    order = torch.randperm(CHUNKS, generator=torch.Generator().manual_seed(1))
    for index in order.split(5):
        metric.update(**case.take(data, index))
    case.check(metric.compute(), data)


@pytest.mark.parametrize("lead", [(4, 6), (2, 3, 4), (1, CHUNKS)])
def test_any_leading_dimensions_count_chunks(case: Case, lead: tuple[int, ...]) -> None:
    data, metric = case.data(), case.metric()
    metric.update(**{name: data[name].unflatten(axis, lead) for name, axis in case.inputs.items()})
    case.check(metric.compute(), data)


def test_a_single_chunk_needs_no_leading_dimension(case: Case) -> None:
    data, metric = case.take(case.data(), torch.tensor([3])), case.metric()
    metric.update(**{name: data[name].squeeze(axis) for name, axis in case.inputs.items()})
    case.check(metric.compute(), data)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_float64_whatever_comes_in(case: Case, dtype: torch.dtype) -> None:
    data, module = case.data(dtype), torch.nn.ModuleList([case.metric()])
    module.to(dtype)  # as training in low precision does
    metric = module[0]
    for index in torch.arange(CHUNKS).split(5):
        metric.update(**case.take(data, index))
    module.to(dtype)
    case.check(metric.compute(), data)


def test_nothing_is_lost_to_a_large_sum(case: Case) -> None:
    data, metric = case.take(case.data(torch.float32), torch.arange(3)), case.metric()
    for _ in range(200):
        metric.update(**data)
    case.check(metric.compute(), data, rtol=1e-11)


def test_processes_add_up(case: Case) -> None:
    data = case.data()
    ranks = [case.metric(), case.metric(), case.metric()]
    shares = torch.arange(CHUNKS).split([4, 1, CHUNKS - 5])
    for metric, index in zip(ranks, shares, strict=True):
        metric.update(**case.take(data, index))

    states = [iter([getattr(metric, name) for name in metric._reductions]) for metric in ranks]

    def gather(_: Tensor, group: object) -> list[Tensor]:
        return [next(state) for state in states]

    together = ranks[0]
    together.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    # Past the wrapper around `compute`, which would synchronise again.
    case.check(type(together).compute(together), data)


def test_forward_gives_the_batch_and_adds_it(case: Case) -> None:
    data, metric = case.data(), case.metric()
    first, rest = torch.arange(9), torch.arange(9, CHUNKS)
    for index in (first, rest):
        batch = case.take(data, index)
        case.check(metric(**batch), batch)
    case.check(metric.compute(), data)


def test_reset_forgets(case: Case) -> None:
    data, metric = case.data(), case.metric()
    metric.update(**case.take(data, torch.arange(10)))
    metric.reset()
    metric.update(**data)
    case.check(metric.compute(), data)


def test_an_empty_batch_adds_nothing(case: Case) -> None:
    data, metric = case.data(), case.metric()
    metric.update(**data)
    metric.update(**case.take(data, torch.arange(0)))
    case.check(metric.compute(), data)


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nan_before_the_first_chunk(case: Case) -> None:
    result = case.metric().compute()
    for value in result.values() if isinstance(result, dict) else [result]:
        assert value.isnan().all()


def test_inputs_are_left_alone_and_no_graph_is_kept(case: Case) -> None:
    data, metric = case.data(), case.metric()
    before = {name: x.clone() for name, x in data.items()}
    for name in data.keys() - {"t"}:
        data[name].requires_grad_()
    metric.update(**data)
    assert all(torch.equal(data[name].detach(), before[name]) for name in data)
    assert not any(getattr(metric, name).requires_grad for name in metric._reductions)
