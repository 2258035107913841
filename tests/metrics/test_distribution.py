"""Distances of clouds: closed forms, scipy in one dimension, and what they say of very many noises."""

from math import exp, gamma, pi, sqrt

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from reflow.flow import ActionSpace
from reflow.metrics import MaximumMeanDiscrepancy, SlicedWassersteinDistance, VarianceRatio
from reflow.metrics.distribution import (
    energy_distance,
    maximum_mean_discrepancy,
    random_directions,
    sliced_wasserstein,
)


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("n", "m"), [(50, 50), (64, 40), (7, 30), (1, 5)])
def test_one_dimension_is_scipys(n: int, m: int) -> None:
    x, reference = _normal(n, 1), 2 * _normal(m, 1, seed=1) + 0.5
    pair = x[:, 0].numpy(), reference[:, 0].numpy()
    one = torch.ones(1, 1, dtype=torch.float64)
    for direction in (one, -one):
        expected = scipy.stats.wasserstein_distance(*pair)
        assert sliced_wasserstein(x, reference, direction).item() == pytest.approx(expected, rel=1e-12)
    expected = scipy.stats.energy_distance(*pair)
    assert energy_distance(x, reference).item() == pytest.approx(expected**2, rel=1e-12)


def test_equally_many_are_compared_in_order() -> None:
    x, reference = _normal(40, 6), _normal(40, 6, seed=1)
    directions = random_directions(10, 6, seed=0)
    expected = np.mean(
        [np.abs(np.sort(x.numpy() @ u) - np.sort(reference.numpy() @ u)).mean() for u in directions.numpy()]
    )
    assert sliced_wasserstein(x, reference, directions).item() == pytest.approx(expected, rel=1e-12)


def test_a_shift_along_a_direction_is_its_length() -> None:
    x, shift = _normal(64, 5), _normal(5, seed=1)
    directions = random_directions(2000, 5, seed=0)
    found = sliced_wasserstein(x + shift, x, directions).item()
    assert found == pytest.approx((directions @ shift).abs().mean().item(), rel=1e-12)
    # E|u_1| of a unit vector u, uniform on the sphere in 5 dimensions.
    assert found == pytest.approx(shift.norm().item() * gamma(2.5) / (sqrt(pi) * gamma(3)), rel=0.05)


def test_directions_are_unit_vectors_and_uniform() -> None:
    directions = random_directions(20_000, 3, seed=0)
    torch.testing.assert_close(directions.norm(dim=1), torch.ones(20_000, dtype=torch.float64))
    assert directions.mean(dim=0).abs().max() < 0.02
    torch.testing.assert_close(
        directions.T @ directions / 20_000, torch.eye(3, dtype=torch.float64) / 3, atol=0.01, rtol=0
    )
    assert torch.equal(random_directions(5, 3, seed=0), directions[:5])
    assert not torch.equal(random_directions(5, 3, seed=1), directions[:5])


def test_the_directions_of_a_metric_are_its_seed() -> None:
    space, x, reference = ActionSpace(3, 3, chunk_size=2), _normal(1, 64, 2, 3), _normal(1, 64, 2, 3, seed=1)
    found = []
    for seed in (0, 0, 1):
        distance = SlicedWassersteinDistance(space, projections=4, seed=seed)
        distance.update(x, reference)
        found.append(distance.compute().item())
    assert found[0] == found[1] != found[2]


def _mean_absolute(mean: float, std: float) -> float:
    return std * sqrt(2 / pi) * exp(-(mean**2) / (2 * std**2)) + mean * (
        1 - 2 * scipy.stats.norm.cdf(-mean / std)
    )


def test_energy_less_its_null_is_that_of_infinitely_many_noises() -> None:
    shift = 0.7
    expected = 2 * _mean_absolute(shift, sqrt(2)) - 2 * _mean_absolute(0, sqrt(2))
    x, reference = _normal(1500, 16, 1), _normal(1500, 16, 1, seed=1)
    excess = torch.stack(
        [energy_distance(a + shift, b) - energy_distance(a, b) for a, b in zip(x, reference, strict=True)]
    )
    null = torch.stack([energy_distance(a, b) for a, b in zip(x, reference, strict=True)])
    assert excess.mean().item() == pytest.approx(expected, rel=0.1)
    # What the null is about: the mean distance of two points, over the number of points of either cloud.
    assert null.mean().item() == pytest.approx(2 * _mean_absolute(0, sqrt(2)) / 16, rel=0.1)


def test_discrepancy_of_two_points_is_its_kernel() -> None:
    reference = torch.tensor([[0.0], [2.0]], dtype=torch.float64)  # a median distance of 2
    x = torch.tensor([[5.0]], dtype=torch.float64)

    def kernel(distance: float) -> float:
        return sum(exp(-(distance**2) / (2 * width**2)) for width in (0.5, 1, 2, 4, 8)) / 5

    expected = 1 + (1 + kernel(2)) / 2 - (kernel(5) + kernel(3))
    assert maximum_mean_discrepancy(x, reference).item() == pytest.approx(expected, rel=1e-12)


def test_discrepancy_has_no_unit_and_its_width_is_the_references() -> None:
    x, reference = _normal(64, 4) + 1, 3 * _normal(64, 4, seed=1)
    once = maximum_mean_discrepancy(x, reference).item()
    assert maximum_mean_discrepancy(1000 * x, 1000 * reference).item() == pytest.approx(once, rel=1e-9)
    assert maximum_mean_discrepancy(reference, x).item() != pytest.approx(once, rel=0.01)
    assert maximum_mean_discrepancy(x + 1e9, reference).item() < 2


def test_discrepancy_from_a_teacher_that_never_varies_is_a_number() -> None:
    constant = torch.full((64, 3), 0.1, dtype=torch.float64)
    assert maximum_mean_discrepancy(constant, constant).item() == 0
    assert maximum_mean_discrepancy(constant + 1, constant).item() == 2
    half = torch.cat([constant[:32], constant[:32] + torch.arange(1, 33)[:, None]])
    # Half of x is the constant; the others are 1/32 of themselves each.
    expected = 1 + (0.25 + 32 / 64**2) - 2 * 0.5
    assert maximum_mean_discrepancy(half, constant).item() == pytest.approx(expected, rel=1e-12)


def test_variance_is_within_observations_and_pooled() -> None:
    space = ActionSpace(2, 3, chunk_size=2)
    reference = _normal(4, 64, 2, 3)
    ratio = VarianceRatio(space)
    ratio.update(0.5 * reference + torch.arange(4.0).reshape(4, 1, 1, 1), reference)
    assert ratio.compute().item() == pytest.approx(0.25, rel=1e-12)
    ratio.update(reference, 0 * reference)  # as much again above, nothing below: a teacher that is sure
    assert ratio.compute().item() == pytest.approx(1.25, rel=1e-12)


def test_variance_over_none_shows() -> None:
    x, zero = _normal(1, 64, 1, 1), torch.zeros(1, 64, 1, 1)
    for first, expected in ((x, "inf"), (zero.double(), "nan")):
        ratio = VarianceRatio(ActionSpace(1, 1, chunk_size=1))
        ratio.update(first, zero)
        assert str(ratio.compute().item()) == expected


def test_errors() -> None:
    space = ActionSpace(1, 1, chunk_size=1)
    with pytest.raises(ValueError, match="projections is 0; allowed: 1 or more"):
        SlicedWassersteinDistance(space, projections=0)
    with pytest.raises(ValueError, match="seed is -1; allowed: 0 or more"):
        SlicedWassersteinDistance(space, seed=-1)
    with pytest.raises(ValueError, match="least is 0; allowed: 2 or more"):
        MaximumMeanDiscrepancy(space, least=0)
