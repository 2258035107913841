"""What metrics of two clouds have in common: order of noises, padding, and what they refuse."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from reflow.flow import ActionSpace
from reflow.metrics import (
    EnergyDistance,
    MaximumMeanDiscrepancy,
    ModeCoverage,
    SlicedWassersteinDistance,
    VarianceRatio,
)
from reflow.metrics.clouds import CloudMetric

SPACE = ActionSpace(2, 3, chunk_size=4)
METRICS = [
    SlicedWassersteinDistance,
    EnergyDistance,
    MaximumMeanDiscrepancy,
    VarianceRatio,
    ModeCoverage,
]
DISTANCES = METRICS[:3]
Make = Callable[..., CloudMetric]


def _cloud(seed: int, noises: int = 64, observations: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(observations, noises, 4, 3, generator=generator, dtype=torch.float64)


def _figures(metric: CloudMetric, x: Tensor, reference: Tensor) -> Tensor:
    metric.update(x, reference)
    result = metric.compute()
    return torch.stack(list(result.values())) if isinstance(result, dict) else result


@pytest.mark.parametrize("make", METRICS)
def test_noises_have_no_order(make: Make) -> None:
    x, reference = _cloud(0, 70), _cloud(1)
    order, other = (
        torch.randperm(n, generator=torch.Generator().manual_seed(2))
        for n in (x.shape[1], reference.shape[1])
    )
    once = _figures(make(SPACE), x, reference)
    torch.testing.assert_close(
        _figures(make(SPACE), x[:, order], reference[:, other]), once, rtol=1e-12, atol=1e-12
    )


@pytest.mark.parametrize("make", METRICS)
def test_padding_does_not_count(make: Make) -> None:
    x, reference = _cloud(0), _cloud(1)
    once = _figures(make(SPACE), x, reference)
    for cloud in (x, reference):
        cloud[..., 2] = float("nan")
    assert torch.equal(_figures(make(SPACE), x, reference), once)


@pytest.mark.parametrize("make", DISTANCES)
def test_equal_clouds_are_at_no_distance(make: Make) -> None:
    x = _cloud(0)
    assert _figures(make(SPACE), x, x.clone()).item() == 0
    assert _figures(make(SPACE), x, x.repeat(1, 3, 1, 1)).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("make", DISTANCES)
def test_a_cloud_of_the_same_kind_is_near_and_a_shifted_one_is_far(make: Make) -> None:
    x, reference = _cloud(0), _cloud(1)
    null = _figures(make(SPACE), x, reference).item()
    shifted = _figures(make(SPACE), x + 1, reference).item()
    wider = _figures(make(SPACE), 3 * x, reference).item()
    assert 0 < null < shifted / 3
    assert null < wider / 3


@pytest.mark.parametrize("make", DISTANCES)
def test_each_observation_is_compared_with_itself(make: Make) -> None:
    x = _cloud(0) + torch.tensor([0.0, 10.0, 20.0]).reshape(3, 1, 1, 1)
    assert _figures(make(SPACE), x, x).item() == 0
    assert _figures(make(SPACE), x, x.flip(0)).item() > 0.1


@pytest.mark.parametrize("make", METRICS)
def test_fewer_noises_than_a_statistic_needs_are_refused(make: Make) -> None:
    message = "{} has 63 noises per observation; allowed: 64 or more.*give the evaluation noises=64"
    with pytest.raises(ValueError, match=message.format("x")):
        make(SPACE).update(_cloud(0, 63), _cloud(1))
    with pytest.raises(ValueError, match=message.format("reference")):
        make(SPACE).update(_cloud(0), _cloud(1, 63))
    make(SPACE, least=63).update(_cloud(0, 63), _cloud(1, 63))


def test_errors(as_users_run: None) -> None:
    with pytest.raises(ValueError, match="least is 1; allowed: 2 or more"):
        EnergyDistance(SPACE, least=1)
    metric, x = EnergyDistance(SPACE), _cloud(0)
    with pytest.raises(ValueError, match=r"x has shape \(4, 3\); allowed: \[..., noises, chunk_size, max_"):
        metric.update(x[0, 0], x[0])
    with pytest.raises(
        ValueError, match=r"reference has shape \(2, 64, 4, 3\), x \(3, 64, 4, 3\); they must be"
    ):
        metric.update(x, x[:2])
    with pytest.raises(
        ValueError, match=r"reference has shape \(3, 64, 3, 3\), x \(3, 64, 4, 3\); they must be"
    ):
        metric.update(x, x[:, :, :3])
