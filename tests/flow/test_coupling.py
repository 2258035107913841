"""Couplings: both ends, padding of the target, no graph, no change in place."""

import itertools
from typing import get_args

import pytest
import torch
from torch import Tensor

from reflow.flow import (
    EULER,
    HEUN,
    ActionSpace,
    Coupling,
    Extent,
    PaddingRule,
    Solver,
    Velocity,
    couple,
    integrate,
    straight_path,
    velocity_loss,
)

SPACE = ActionSpace(3, 5, chunk_size=4)


def _both(velocity: Velocity, randn: Tensor, num_steps: int, solver: Solver, rule: PaddingRule) -> Coupling:
    with torch.no_grad():
        start = rule.teacher_noise(randn)
        endpoint = integrate(velocity, start, num_steps, solver, time_dims=randn.ndim - 2).endpoint
    return couple(randn, endpoint, rule)


def _randn(*lead: int) -> Tensor:
    shape = (*lead, SPACE.chunk_size, SPACE.max_action_dim)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _mixing(x_t: Tensor, t: Tensor) -> Tensor:
    """A field in which padding reaches the real dimensions."""
    return torch.sin(x_t.roll(1, dims=-1)) * t[..., None, None]


@pytest.mark.parametrize("lead", [(2,), (2, 3), ()])
@pytest.mark.parametrize("solver", [EULER, HEUN])
def test_action_is_the_endpoint_through_the_rule(lead: tuple[int, ...], solver: Solver) -> None:
    for answers in itertools.product(get_args(Extent), repeat=3):
        rule = PaddingRule(SPACE, *answers)
        noise = rule.noise(_randn(*lead))
        found = _both(_mixing, noise, 7, solver, rule)
        endpoint = integrate(_mixing, noise, 7, solver, time_dims=len(lead)).endpoint
        assert torch.equal(found.noise, noise)
        assert torch.equal(found.action, rule.target(endpoint))


def test_noise_is_not_changed() -> None:
    noise = _randn(2)
    before = noise.clone()
    _both(_mixing, noise, 3, EULER, PaddingRule(SPACE))
    assert torch.equal(noise, before)


def test_no_graph_is_recorded() -> None:
    weight = torch.ones((), dtype=torch.float64, requires_grad=True)
    found = _both(lambda x, t: weight * x, _randn(2), 3, EULER, PaddingRule(SPACE))
    assert not found.action.requires_grad
    assert torch.is_grad_enabled()


def test_a_straight_teacher_has_no_loss_on_its_own_coupling() -> None:
    """The whole way of the data: noise, coupling, path, loss; a straight field is a fixed point of reflow."""
    rule = PaddingRule(SPACE, "full", "full", "full")
    noise, direction = rule.noise(_randn(2, 3)), _randn(1, 1)[0, 0]
    found = _both(lambda x, t: direction.expand_as(x), noise, 10, EULER, rule)
    sample = straight_path(found.noise, found.action, torch.full((2, 3), 0.3, dtype=torch.float64))
    loss = velocity_loss(direction.expand_as(sample.u_t), sample.u_t, rule)
    assert loss < 1e-28
    # With the padding of the target cut, the same student is told otherwise there.
    cut = _both(
        lambda x, t: direction.expand_as(x), noise, 10, EULER, PaddingRule(SPACE, "full", "real", "full")
    )
    assert velocity_loss(direction.expand_as(sample.u_t), cut.noise - cut.action, rule) > 0.1


@pytest.mark.usefixtures("as_users_run")
def test_error_for_noise_of_real_width() -> None:
    with pytest.raises(ValueError, match=r"x has shape \(2, 4, 3\); allowed: last dimension 5"):
        _both(_mixing, SPACE.real(_randn(2)), 3, EULER, PaddingRule(SPACE))


@pytest.mark.usefixtures("as_users_run")
def test_error_for_an_endpoint_of_real_width() -> None:
    randn = _randn(2)
    with pytest.raises(ValueError, match=r"x has shape \(2, 4, 3\); allowed: last dimension 5"):
        couple(randn, SPACE.real(randn), PaddingRule(SPACE))


def test_an_inert_padding_asks_the_teacher_with_the_whole_draw() -> None:
    randn, seen = _randn(2), []
    rule = PaddingRule(SPACE, inert=True)
    found = _both(lambda x, t: seen.append(x) or torch.zeros_like(x), randn, 1, EULER, rule)
    assert torch.equal(seen[0], randn)
    assert torch.equal(found.noise, rule.noise(randn))
