"""Every metric with a reference in numpy, which sees all data at once."""

from collections.abc import Callable
from dataclasses import dataclass

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
Data = dict[str, Tensor]
Figures = dict[str, object] | object


@dataclass(frozen=True)
class Case:
    """A metric, what it takes (and along which axis chunks are counted), and what it should be."""

    metric: Callable[[], Metric]
    inputs: dict[str, int]
    reference: Callable[..., Figures]

    def data(self, dtype: torch.dtype = torch.float64) -> Data:
        """Random inputs of 24 chunks of 4 steps; native width 8, real width 5."""
        generator = torch.Generator().manual_seed(7)
        shapes = {"velocities": (6, CHUNKS, H, D)}
        data = {}
        for scale, name in enumerate(self.inputs, start=1):
            # Off centre, and another scale for each input: no figure is the same under a swap.
            x = torch.randn(shapes.get(name, (CHUNKS, H, D)), generator=generator, dtype=dtype)
            data[name] = scale * x + 0.3
        if "t" in data:
            # Out of order, and no edge of a bin within the rounding of bfloat16.
            data["t"] = (torch.randperm(CHUNKS, generator=generator).to(dtype) + 0.5) / CHUNKS
        return data

    def take(self, data: Data, index: Tensor) -> Data:
        """Some of the chunks."""
        return {name: data[name].index_select(axis, index) for name, axis in self.inputs.items()}

    def check(self, result: Tensor | dict[str, Tensor], data: Data, rtol: float = 1e-12) -> None:
        """Compare a result, name by name, with the reference on all of the data."""
        expected = self.reference(**{name: x.detach().double().numpy() for name, x in data.items()})
        if isinstance(result, Tensor):
            result, expected = {"": result}, {"": expected}
        assert isinstance(expected, dict)
        assert list(result) == list(expected)
        for name, value in result.items():
            assert value.dtype == torch.float64
            np.testing.assert_allclose(value.numpy(), expected[name], rtol=rtol, err_msg=name)


def _relative(value: Array, reference: Array) -> object:
    pairs = zip(value[..., :A], reference[..., :A], strict=True)
    return np.mean([np.linalg.norm(v - r) / np.linalg.norm(r) for v, r in pairs])


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
