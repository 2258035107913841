"""Straightness: straight lines, closed forms, a real trajectory."""

import math

import pytest
import torch
from torch import Tensor

from reflow.flow import EULER, ActionSpace, integrate
from reflow.metrics import Straightness, StraightnessByDimension

SPACE = ActionSpace(2, 3, chunk_size=4)


def _noise() -> Tensor:
    return torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_a_straight_line_is_straight() -> None:
    noise = _noise()
    action = noise.flip(0)
    straightness = Straightness(SPACE)
    straightness.update((noise - action).expand(10, -1, -1, -1), noise, action)
    assert {name: x.item() for name, x in straightness.compute().items()} == dict.fromkeys(
        ("all", "real", "padding"), 0.0
    )


def test_only_the_bent_part_is_bent() -> None:
    noise = _noise()
    action = torch.zeros_like(noise)
    velocities = noise.repeat(2, 1, 1, 1)
    velocities[0, ..., 2] *= 0  # waits,
    velocities[1, ..., 2] *= 2  # then runs
    straightness = Straightness(SPACE)
    straightness.update(velocities, noise, action)
    result = straightness.compute()
    assert (result["real"].item(), result["padding"].item()) == (0.0, 1.0)
    assert 0 < result["all"].item() < 1


def test_the_bent_dimension_is_named() -> None:
    noise = _noise()
    action = torch.zeros_like(noise)
    velocities = noise.repeat(2, 1, 1, 1)
    velocities[:, ..., 1] *= torch.tensor([0.0, 2.0])[:, None, None]  # waits, then runs
    straightness = StraightnessByDimension(SPACE)
    straightness.update(velocities, noise, action)
    assert straightness.compute().tolist() == [0.0, 1.0, 0.0]


def test_exponential_decay_has_its_closed_form() -> None:
    # v = x: x_t = noise * exp(t - 1), line = noise * (1 - 1/e); the mean of exp(2t - 2) is (1 - e^-2) / 2.
    noise, velocities = _noise(), []

    def field(x: Tensor, t: Tensor) -> Tensor:
        velocities.append(x)
        return x

    action = integrate(field, noise, 4000, EULER).endpoint
    straightness = Straightness(SPACE)
    straightness.update(torch.stack(velocities), noise, action)
    length = 1 - math.exp(-1)
    expected = ((1 - math.exp(-2)) / 2 - length**2) / length**2
    assert straightness.compute()["real"].item() == pytest.approx(expected, rel=1e-3)


def test_without_padding_there_is_nothing_to_say_of_it() -> None:
    straightness = Straightness(ActionSpace(3, 3, chunk_size=4))
    straightness.update(_noise()[None], _noise(), torch.zeros(5, 4, 3, dtype=torch.float64))
    assert list(straightness.compute()) == ["all", "real"]


@pytest.mark.parametrize("shape", [(5, 4, 3), (0, 5, 4, 3), (2, 1, 4, 3), ()])
def test_velocities_must_be_stacked_in_front(shape: tuple[int, ...], as_users_run: None) -> None:
    with pytest.raises(
        ValueError, match=r"velocities has shape .*; allowed: \(n, 5, 4, 3\) with n at least 1"
    ):
        Straightness(SPACE).update(torch.zeros(shape), _noise(), _noise())
