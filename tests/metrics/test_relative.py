"""Relative differences: scale, direction, and what happens at zero."""

import pytest
import torch

from reflow.flow import ActionSpace
from reflow.metrics import EndpointError, RelativeVelocityError, Sensitivity, relative_difference

SPACE = ActionSpace(2, 3, chunk_size=4)


def _chunks(seed: int) -> torch.Tensor:
    return torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_is_free_of_scale() -> None:
    value, reference = _chunks(0), _chunks(1)
    once = relative_difference(value, reference, SPACE)
    torch.testing.assert_close(relative_difference(100 * value, 100 * reference, SPACE), once)


def test_padding_does_not_count() -> None:
    value, reference = _chunks(0), _chunks(1)
    once = relative_difference(value, reference, SPACE)
    for x in (value, reference):
        x[..., 2] = float("nan")
    assert torch.equal(relative_difference(value, reference, SPACE), once)


def test_a_zero_reference_shows() -> None:
    zero, one = torch.zeros(4, 3), torch.ones(4, 3)
    assert relative_difference(one, zero, SPACE).isinf()
    assert relative_difference(zero, zero, SPACE).isnan()


@pytest.mark.parametrize("metric", [EndpointError, RelativeVelocityError])
def test_is_relative_to_the_second_argument(
    metric: type[EndpointError] | type[RelativeVelocityError],
) -> None:
    error = metric(SPACE)
    error.update(torch.full((4, 3), 3.0), torch.full((4, 3), 2.0))
    assert error.compute().item() == 0.5


def test_sensitivity_is_relative_to_the_first() -> None:
    sensitivity = Sensitivity(SPACE)
    sensitivity.update(torch.full((4, 3), 2.0), torch.full((4, 3), 3.0))
    assert sensitivity.compute().item() == 0.5


def test_is_a_mean_of_ratios_and_not_a_ratio_of_means() -> None:
    error = EndpointError(ActionSpace(1, 1, 1))
    error.update(torch.tensor([2.0, 100.0]).reshape(2, 1, 1), torch.tensor([1.0, 100.0]).reshape(2, 1, 1))
    assert error.compute().item() == 0.5
