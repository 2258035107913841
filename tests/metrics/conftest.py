"""Every metric with a reference in numpy, which sees all data at once."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist
from scipy.stats import wasserstein_distance
from torch import Tensor
from torchmetrics import Metric

from reflow.flow import ActionSpace
from reflow.metrics import (
    EndpointError,
    EnergyDistance,
    MaximumMeanDiscrepancy,
    ModeCoverage,
    MotionStatistics,
    PaddingStatistics,
    RelativeVelocityError,
    RepaddingDifference,
    Sensitivity,
    SlicedWassersteinDistance,
    Straightness,
    StraightnessByDimension,
    VarianceRatio,
    VelocityErrorProfile,
    VelocityLoss,
)
from reflow.metrics.distribution import random_directions

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
        shapes = {
            "velocities": (6, CHUNKS, H, D),
            "x": (CHUNKS, 6, H, D),
            "reference": (CHUNKS, 7, H, D),
            "actions": (CHUNKS, 9, A),
        }
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


def _straightness_by_dimension(velocities: Array, noise: Array, action: Array) -> object:
    line = noise - action
    over_time = [((line - v) ** 2).mean(axis=(0, 1)) for v in velocities]
    return np.mean(over_time, axis=0) / (line**2).mean(axis=(0, 1))


def _clouds(distance: Callable[[Array, Array], object]) -> Callable[[Array, Array], object]:
    def mean(x: Array, reference: Array) -> object:
        pairs = zip(x[..., :A], reference[..., :A], strict=True)
        return np.mean([distance(a.reshape(len(a), -1), b.reshape(len(b), -1)) for a, b in pairs])

    return mean


def _sliced_wasserstein(x: Array, reference: Array) -> object:
    directions = random_directions(8, H * A, seed=3).numpy()
    return np.mean([wasserstein_distance(x @ u, reference @ u) for u in directions])


def _energy(x: Array, reference: Array) -> object:
    def mean(one: Array, other: Array) -> float:
        return sum(float(np.linalg.norm(a - b)) for a in one for b in other) / (len(one) * len(other))

    return 2 * mean(x, reference) - mean(x, x) - mean(reference, reference)


def _mmd(x: Array, reference: Array) -> object:
    median = np.median(pdist(reference))

    def mean(one: Array, other: Array) -> object:
        widths = [median / 4, median / 2, median, 2 * median, 4 * median]
        squares = cdist(one, other, "sqeuclidean")
        return np.mean([np.exp(-squares / (2 * s * s)) for s in widths])

    return mean(x, x) + mean(reference, reference) - 2 * mean(x, reference)


def _variance_ratio(x: Array, reference: Array) -> object:
    above, below = (np.trace(np.cov(c.reshape(-1, A * H).T)) for c in (x[0, ..., :A], reference[0, ..., :A]))
    for a, b in zip(x[1:, ..., :A], reference[1:, ..., :A], strict=True):
        above += np.trace(np.cov(a.reshape(len(a), -1).T))
        below += np.trace(np.cov(b.reshape(len(b), -1).T))
    return above / below


def _one_mode(x: Array, reference: Array) -> dict[str, object]:
    coverage, evenness = [], []
    for a, b in zip(x[..., :A], reference[..., :A], strict=True):
        centre = b.mean(axis=0)
        theirs = np.linalg.norm((b - centre).reshape(len(b), -1), axis=1)
        ours = np.linalg.norm((a - centre).reshape(len(a), -1), axis=1)
        radius = 2 * np.sqrt((theirs**2).mean()) + 1e-5 * np.abs(b).max()
        here, there = (ours <= radius).mean(), (theirs <= radius).mean()
        coverage.append(float(here >= 0.1 * there))
        evenness.append(min(here, there) / there)
    return {"coverage": np.mean(coverage), "evenness": np.mean(evenness), "modes": 1.0}


LOWER, UPPER, GRIPPERS = [-1.0, -0.5, -2.0, -1.0, -0.5], [1.0, 1.0, 2.0, 1.5, 1.0], (1, 4)


def _motion(actions: Array) -> dict[str, object]:
    lower, upper = np.array(LOWER), np.array(UPPER)
    jerks, jumps, steps, beyond, flips = [], [], [], [], []
    for sequence in actions:
        for i in range(len(sequence)):
            room = 0.01 * (upper - lower)
            beyond.append((sequence[i] < lower - room) | (sequence[i] > upper + room))
            if i >= 1:
                (jumps if i % 4 == 0 else steps).append(np.abs(sequence[i] - sequence[i - 1]))
            if i >= 3:
                third = sequence[i] - 3 * sequence[i - 1] + 3 * sequence[i - 2] - sequence[i - 3]
                jerks.append(third * 10.0**3)
        counts = np.full(A, np.nan)
        for joint in GRIPPERS:
            opening = (sequence[:, joint] - lower[joint]) / (upper[joint] - lower[joint])
            states = ["open" if o > 0.6 else "closed" for o in opening if o > 0.6 or o < 0.4]
            counts[joint] = sum(a != b for a, b in pairwise(states))
        flips.append(counts)
    by_joint = {
        "jerk": np.sqrt(np.mean(np.square(jerks), axis=0)),
        "boundary_jump_mean": np.mean(jumps, axis=0),
        "boundary_jump_max": np.max(jumps, axis=0),
        "step_mean": np.mean(steps, axis=0),
        "limit_violations": np.mean(beyond, axis=0),
        "gripper_flips": np.mean(flips, axis=0),
    }
    total = {name: value.mean() for name, value in by_joint.items()} | {
        "jerk": np.sqrt(np.mean(np.square(jerks))),
        "boundary_jump_max": np.max(jumps),
        "limit_violations": np.mean(np.any(beyond, axis=1)),
        "gripper_flips": np.nansum(flips) / len(actions),
    }
    return {
        key: x for name in by_joint for key, x in ((name, total[name]), (f"{name}/joint", by_joint[name]))
    }


CLOUDS = {"x": 0, "reference": 0}

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
    "straightness_by_dimension": Case(
        lambda: StraightnessByDimension(SPACE),
        {"velocities": 1, "noise": 0, "action": 0},
        _straightness_by_dimension,
    ),
    "sliced_wasserstein": Case(
        lambda: SlicedWassersteinDistance(SPACE, projections=8, seed=3, least=6),
        CLOUDS,
        _clouds(_sliced_wasserstein),
    ),
    "energy": Case(lambda: EnergyDistance(SPACE, least=6), CLOUDS, _clouds(_energy)),
    "mmd": Case(lambda: MaximumMeanDiscrepancy(SPACE, least=6), CLOUDS, _clouds(_mmd)),
    "variance_ratio": Case(lambda: VarianceRatio(SPACE, least=6), CLOUDS, _variance_ratio),
    "mode_coverage": Case(lambda: ModeCoverage(SPACE, most=1, least=6), {"reference": 0, "x": 0}, _one_mode),
    "motion": Case(lambda: MotionStatistics(10, 4, LOWER, UPPER, GRIPPERS), {"actions": 0}, _motion),
}
# Motion alone is not measured on chunks, but on what was played of them.
OF_CHUNKS = [name for name in CASES if name != "motion"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture(params=OF_CHUNKS)
def chunk_case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]
