"""What every metric keeps: one reference in numpy on all data at once, however the data came in."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from reflow.flow import ActionSpace
from reflow.metrics import (
    EndpointError,
    PaddingStatistics,
    RelativeVelocityError,
    RepaddingDifference,
    Sensitivity,
    Straightness,
    VelocityErrorProfile,
    VelocityLoss,
)

A, D, H, CHUNKS = 5, 8, 4, 24
SPACE = ActionSpace(A, D, H)

Array = NDArray[np.float64]
Result = Tensor | dict[str, Tensor]


@dataclass(frozen=True)
class Case:
    """A metric, what it takes (and along which axis chunks are counted), and what it should be."""

    metric: Callable[[], Metric]
    inputs: dict[str, int]
    reference: Callable[..., dict[str, object] | object]


def _relative(value: Array, reference: Array) -> object:
    ratios = [
        np.linalg.norm((v - r)[:, :A]) / np.linalg.norm(r[:, :A])
        for v, r in zip(value, reference, strict=True)
    ]
    return np.mean(ratios)


def _profile(v_t: Array, u_t: Array, t: Array) -> object:
    result = np.full((3, D), np.nan)
    for i in range(3):
        inside = (t >= i / 3) & (t < (i + 1) / 3)
        if inside.any():
            result[i] = ((v_t - u_t)[inside] ** 2).mean(axis=(0, 1))
    return result


def _statistics(endpoint: Array) -> dict[str, object]:
    result: dict[str, object] = {}
    for part, x in {"real": endpoint[..., :A], "padding": endpoint[..., A:]}.items():
        result |= {f"{part}/mean": x.mean(), f"{part}/std": x.std()}
        result |= {f"{part}/abs_mean": np.abs(x).mean(), f"{part}/abs_max": np.abs(x).max()}
    return result


def _repadding(endpoint: Array) -> dict[str, object]:
    repadded = np.pad(endpoint[..., :A], [(0, 0), (0, 0), (0, D - A)])
    difference = np.abs(endpoint - repadded)
    return {"max": difference.max(), "mean": difference.mean()}


def _straightness(velocities: Array, noise: Array, action: Array) -> dict[str, object]:
    def ratio(dims: slice) -> object:
        line = (noise - action)[..., dims]
        over_time = [np.mean((line - v[..., dims]) ** 2) for v in velocities]
        return np.mean(over_time) / np.mean(line**2)

    return {"all": ratio(slice(None)), "real": ratio(slice(A)), "padding": ratio(slice(A, None))}


CASES = {
    "relative_velocity": Case(
        lambda: RelativeVelocityError(SPACE), {"v_t": 0, "u_t": 0}, lambda v_t, u_t: _relative(v_t, u_t)
    ),
    "velocity_loss": Case(
        lambda: VelocityLoss(SPACE),
        {"v_t": 0, "u_t": 0},
        lambda v_t, u_t: np.mean((v_t - u_t)[..., :A] ** 2),
    ),
    "velocity_profile": Case(lambda: VelocityErrorProfile(3, SPACE), {"v_t": 0, "u_t": 0, "t": 0}, _profile),
    "endpoint": Case(
        lambda: EndpointError(SPACE),
        {"student": 0, "teacher": 0},
        lambda student, teacher: _relative(student, teacher),
    ),
    "sensitivity": Case(
        lambda: Sensitivity(SPACE),
        {"endpoint": 0, "redrawn": 0},
        lambda endpoint, redrawn: _relative(redrawn, endpoint),
    ),
    "padding": Case(lambda: PaddingStatistics(SPACE), {"endpoint": 0}, _statistics),
    "repadding": Case(lambda: RepaddingDifference(SPACE), {"endpoint": 0}, _repadding),
    "straightness": Case(
        lambda: Straightness(SPACE), {"velocities": 1, "noise": 0, "action": 0}, _straightness
    ),
}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


def _data(case: Case, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(7)
    shapes = {"t": (CHUNKS,), "velocities": (6, CHUNKS, H, D)}
    data = {}
    for i, name in enumerate(case.inputs):
        shape = shapes.get(name, (CHUNKS, H, D))
        draw = torch.rand if name == "t" else torch.randn
        # Off centre, and another scale for each input: no figure is the same under a swap.
        data[name] = draw(shape, generator=generator, dtype=dtype) * (1 if name == "t" else i + 1)
        if name != "t":
            data[name] += 0.3
    return data


def _take(case: Case, data: dict[str, Tensor], index: Tensor) -> dict[str, Tensor]:
    return {name: data[name].index_select(axis, index) for name, axis in case.inputs.items()}


def _reference(case: Case, data: dict[str, Tensor]) -> dict[str, object] | object:
    return case.reference(**{name: x.double().numpy() for name, x in data.items()})


def _assert_equal(result: Result, expected: dict[str, object] | object, rtol: float = 1e-12) -> None:
    if isinstance(result, dict):
        assert isinstance(expected, dict)
        assert list(result) == list(expected)
        for name, value in result.items():
            assert value.dtype == torch.float64
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=rtol, err_msg=name)
    else:
        assert result.dtype == torch.float64
        np.testing.assert_allclose(result.numpy(), expected, rtol=rtol)


@pytest.mark.parametrize("edges", [(0, CHUNKS), (0, 1, 2, CHUNKS), (0, 7, 8, 20, CHUNKS), range(CHUNKS + 1)])
def test_equals_numpy_on_all_data_however_it_is_split(case: Case, edges: tuple[int, ...] | range) -> None:
    data, metric = _data(case), case.metric()
    for start, stop in pairwise(edges):
        metric.update(**_take(case, data, torch.arange(start, stop)))
    _assert_equal(metric.compute(), _reference(case, data))


def test_order_does_not_matter(case: Case) -> None:
    data, metric = _data(case), case.metric()
    order = torch.randperm(CHUNKS, generator=torch.Generator().manual_seed(1))
    for index in order.split(5):
        metric.update(**_take(case, data, index))
    _assert_equal(metric.compute(), _reference(case, data))


@pytest.mark.parametrize("lead", [(4, 6), (2, 3, 4), (1, CHUNKS)])
def test_any_leading_dimensions_count_chunks(case: Case, lead: tuple[int, ...]) -> None:
    data, metric = _data(case), case.metric()
    metric.update(**{name: data[name].unflatten(axis, lead) for name, axis in case.inputs.items()})
    _assert_equal(metric.compute(), _reference(case, data))


def test_a_single_chunk_needs_no_leading_dimension(case: Case) -> None:
    data, metric = _take(case, _data(case), torch.tensor([3])), case.metric()
    metric.update(**{name: data[name].squeeze(axis) for name, axis in case.inputs.items()})
    _assert_equal(metric.compute(), _reference(case, data))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_sums_are_float64_whatever_comes_in(case: Case, dtype: torch.dtype) -> None:
    data, module = _data(case, dtype), torch.nn.ModuleList([case.metric()])
    if "t" in data:
        data["t"] = torch.arange(CHUNKS, dtype=dtype) / CHUNKS  # no edge within the rounding of bfloat16
    module.to(dtype)  # as training in low precision does
    metric = module[0]
    for index in torch.arange(CHUNKS).split(5):
        metric.update(**_take(case, data, index))
    module.to(dtype)
    _assert_equal(metric.compute(), _reference(case, data))


def test_nothing_is_lost_to_a_large_sum(case: Case) -> None:
    data, metric = _take(case, _data(case, torch.float32), torch.arange(3)), case.metric()
    for _ in range(200):
        metric.update(**data)
    _assert_equal(metric.compute(), _reference(case, data), rtol=1e-11)


def test_processes_add_up(case: Case) -> None:
    data = _data(case)
    ranks = [case.metric(), case.metric(), case.metric()]
    for metric, index in zip(
        ranks, (torch.arange(4), torch.arange(4, 5), torch.arange(5, CHUNKS)), strict=True
    ):
        metric.update(**_take(case, data, index))

    states = [iter([getattr(metric, name) for name in metric._reductions]) for metric in ranks]

    def gather(_: Tensor, group: object) -> list[Tensor]:
        return [next(state) for state in states]

    together = ranks[0]
    together.sync(dist_sync_fn=gather, distributed_available=lambda: True)
    _assert_equal(
        type(together).compute(together), _reference(case, data)
    )  # less the wrapper, which would sync


def test_forward_gives_the_batch_and_adds_it(case: Case) -> None:
    data, metric = _data(case), case.metric()
    first, rest = torch.arange(9), torch.arange(9, CHUNKS)
    for index in (first, rest):
        batch = _take(case, data, index)
        _assert_equal(metric(**batch), _reference(case, batch))
    _assert_equal(metric.compute(), _reference(case, data))


def test_reset_forgets(case: Case) -> None:
    data, metric = _data(case), case.metric()
    metric.update(**_take(case, data, torch.arange(10)))
    metric.reset()
    metric.update(**data)
    _assert_equal(metric.compute(), _reference(case, data))


def test_an_empty_batch_adds_nothing(case: Case) -> None:
    data, metric = _data(case), case.metric()
    metric.update(**data)
    metric.update(**_take(case, data, torch.arange(0)))
    _assert_equal(metric.compute(), _reference(case, data))


@pytest.mark.filterwarnings("ignore:The ``compute`` method")
def test_nan_before_the_first_chunk(case: Case) -> None:
    result = case.metric().compute()
    for value in result.values() if isinstance(result, dict) else [result]:
        assert value.isnan().all()


def test_inputs_are_left_alone_and_no_graph_is_kept(case: Case) -> None:
    data, metric = _data(case), case.metric()
    before = {name: x.clone() for name, x in data.items()}
    for name in data.keys() - {"t"}:
        data[name].requires_grad_()
    metric.update(**data)
    assert all(torch.equal(data[name].detach(), before[name]) for name in data)
    assert not any(getattr(metric, name).requires_grad for name in metric._reductions)


def test_chunks_of_another_width_are_refused(case: Case, as_users_run: None) -> None:
    data = _data(case)
    for name in data.keys() - {"t"}:
        data[name] = data[name][..., :-1]
    with pytest.raises(ValueError, match=r"last dimension 8 \(max_action_dim\)"):
        case.metric().update(**data)


def test_less_than_a_chunk_is_refused(case: Case, as_users_run: None) -> None:
    flat = {name: torch.ones(D) for name in case.inputs}
    with pytest.raises(ValueError, match=r"has shape \(8,\); allowed: \[..., chunk_size, max_action_dim\]"):
        case.metric().update(**flat)


def test_different_shapes_are_refused(case: Case, as_users_run: None) -> None:
    data = _data(case)
    names = [name for name in data if name not in ("t", "velocities")]
    if len(names) < 2:
        pytest.skip("takes one tensor")
    data[names[1]] = data[names[1]][:1]  # would broadcast
    with pytest.raises(ValueError, match=r"has shape \(\d+, 4, 8\), \w+ \(\d+, 4, 8\); they must be equal"):
        case.metric().update(**data)
