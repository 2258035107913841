"""Solvers: exactness, order of convergence, LeRobot's bits, counted cost, errors."""

import math
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from reflow.flow import (
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    SOLVERS,
    Solver,
    Velocity,
    get_solver,
    integrate,
    straight_path,
    trajectory,
)

every_solver = pytest.mark.parametrize("solver", SOLVERS.values(), ids=SOLVERS.keys())


def _noise(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=dtype)


def _network(width: int) -> Velocity:
    """A nonlinear field that depends on time, in float32."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(width, 16, generator=generator)
    second = torch.randn(16, width, generator=generator)
    return lambda x_t, t: torch.tanh(x_t @ first + torch.sin(3 * t).reshape(-1, 1, 1)) @ second


@every_solver
@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_constant_field_is_exact(solver: Solver, num_steps: int) -> None:
    noise, direction = _noise(2, 3, 4), 1.0 + _noise(3, 4)
    endpoint = integrate(lambda x, t: direction.expand_as(x), noise, num_steps, solver).endpoint
    torch.testing.assert_close(endpoint, noise - direction, rtol=0, atol=1e-13)


@every_solver
@pytest.mark.parametrize("num_steps", [1, 4])
def test_powers_of_time_are_exact_below_the_order_and_not_at_it(solver: Solver, num_steps: int) -> None:
    noise = torch.zeros(1, 1, dtype=torch.float64)
    for power in range(solver.order + 1):
        field = lambda x, t, power=power: (power + 1) * t[:, None] ** power  # noqa: E731
        error = (integrate(field, noise, num_steps, solver).endpoint + 1.0).abs().item()
        assert (error < 1e-13) == (power < solver.order), (power, error)


@every_solver
@pytest.mark.parametrize("rate", [-1.3, 0.8])
def test_linear_field_gives_the_taylor_polynomial_of_the_order(solver: Solver, rate: float) -> None:
    # dx/dt = rate * x over dt = -1/n: a method with as many stages as its order multiplies x in each step by
    # the exponential series of rate * dt cut off after the order (Hairer and Wanner 1996, section IV.2).
    noise, num_steps = _noise(2, 3), 3
    z = -rate / num_steps
    growth = sum(z**k / math.factorial(k) for k in range(solver.order + 1))
    endpoint = integrate(lambda x, t: rate * x, noise, num_steps, solver).endpoint
    torch.testing.assert_close(endpoint, noise * growth**num_steps, rtol=1e-13, atol=0)


@pytest.mark.parametrize("num_steps", [1, 2, 7])
def test_euler_walks_a_straight_coupling_exactly(num_steps: int) -> None:
    noise, action = _noise(3, 2, 4), 2.0 + _noise(3, 2, 4).flip(0)
    found = trajectory(lambda x, t: (x - action) / t[:, None, None], noise, num_steps)
    torch.testing.assert_close(found.endpoint, action, rtol=0, atol=1e-13)
    for x_t, v_t, t in zip(found.states, found.velocities, found.times, strict=False):
        sample = straight_path(noise, action, t.expand(3))
        torch.testing.assert_close(x_t, sample.x_t, rtol=0, atol=1e-13)
        torch.testing.assert_close(v_t, sample.u_t, rtol=0, atol=1e-12)


@every_solver
def test_error_falls_with_the_order(solver: Solver) -> None:
    # dx/dt = -2 (t + 0.3) x^2, nonlinear and with time in it, is solved by x = 1 / ((t + 0.3)^2 + c).
    noise = torch.tensor([[0.1, 0.2, 0.3]], dtype=torch.float64)
    exact = 1 / (1 / noise - 1.3**2 + 0.3**2)
    steps = np.array([16, 32, 64, 128])
    errors = [
        (integrate(lambda x, t: -2 * (t[:, None] + 0.3) * x**2, noise, int(n), solver).endpoint - exact)
        .abs()
        .max()
        .item()
        for n in steps
    ]
    slope = np.polyfit(np.log(steps), np.log(errors), 1)[0]
    assert slope == pytest.approx(-solver.order, abs=0.1)


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 10, 49, 100])
def test_euler_equals_lerobot_to_the_last_bit(stock: ModuleType, num_steps: int) -> None:
    noise, field = _noise(2, 5, 8, dtype=torch.float32), _network(8)
    expected = stock.euler_integrate(field, noise, num_steps)
    assert torch.equal(integrate(field, noise, num_steps).endpoint, expected)
    assert torch.equal(trajectory(field, noise, num_steps).endpoint, expected)


@pytest.mark.parametrize("num_steps", [1, 3, 10, 49])
def test_euler_asks_at_the_times_of_lerobot(stock: ModuleType, num_steps: int) -> None:
    def record(into: list[Tensor]) -> Velocity:
        def velocity(x_t: Tensor, t: Tensor) -> Tensor:
            into.append(t.clone())
            return torch.ones_like(x_t)

        return velocity

    ours: list[Tensor] = []
    theirs: list[Tensor] = []
    noise = _noise(2, 3, 4, dtype=torch.float32)
    integrate(record(ours), noise, num_steps)
    stock.euler_integrate(record(theirs), noise, num_steps)
    assert ours[0].dtype == theirs[0].dtype == torch.float32
    assert torch.equal(torch.stack(ours), torch.stack(theirs))


@every_solver
def test_trajectory_passes_through_every_state(solver: Solver) -> None:
    noise, field = _noise(2, 5, 4, dtype=torch.float32), _network(4)
    found = trajectory(field, noise, 6, solver)
    assert found.states.shape == (7, 2, 5, 4)
    assert found.velocities.shape == (6, 2, 5, 4)
    assert torch.equal(found.states[0], noise)
    assert torch.equal(found.endpoint, integrate(field, noise, 6, solver).endpoint)
    torch.testing.assert_close(found.times, torch.linspace(1, 0, 7))
    for x_t, t, v_t in zip(found.states, found.times, found.velocities, strict=False):
        assert torch.equal(field(x_t, t.expand(2)), v_t)


@every_solver
@pytest.mark.parametrize("num_steps", [1, 5])
def test_cost_is_counted(solver: Solver, num_steps: int) -> None:
    calls = []

    def field(x_t: Tensor, t: Tensor) -> Tensor:
        calls.append(t)
        return x_t

    found = integrate(field, _noise(2, 3, 4), num_steps, solver)
    assert found.nfe == len(calls) == num_steps * solver.stages
    assert trajectory(field, _noise(2, 3, 4), num_steps, solver).nfe == found.nfe


@every_solver
@pytest.mark.parametrize(("time_dims", "shape"), [(0, ()), (1, (2,)), (2, (2, 3))])
@pytest.mark.parametrize(
    ("dtype", "time_dtype"),
    [
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
        (torch.bfloat16, torch.float32),
    ],
)
def test_time_has_the_shape_asked_for_and_stays_in_range(
    solver: Solver, time_dims: int, shape: tuple[int, ...], dtype: torch.dtype, time_dtype: torch.dtype
) -> None:
    def field(x_t: Tensor, t: Tensor) -> Tensor:
        assert t.shape == shape
        assert t.dtype == time_dtype
        assert ((t >= 0) & (t <= 1)).all()
        return x_t

    found = integrate(field, _noise(2, 3, 4, 5, dtype=dtype), 49, solver, time_dims=time_dims)
    assert found.endpoint.dtype == dtype


def test_draws_of_one_observation_are_integrated_as_if_alone() -> None:
    noise, scale = _noise(2, 3, 4, 5), 1.0 + _noise(2, 1, 1, 1) ** 2
    together = integrate(
        lambda x, t: torch.sin(scale * x) * t[..., None, None], noise, 4, time_dims=2
    ).endpoint
    for k in range(3):
        alone = integrate(lambda x, t: torch.sin(scale[:, 0] * x) * t[:, None, None], noise[:, k], 4).endpoint
        assert torch.equal(together[:, k], alone)


@every_solver
@pytest.mark.parametrize("walk", [integrate, trajectory])
def test_noise_is_never_changed_in_place(solver: Solver, walk: Callable[..., Any]) -> None:
    noise = _noise(2, 3, 4)
    before = noise.clone()
    found = walk(lambda x, t: x, noise, 1, solver)
    found.endpoint.zero_()
    assert torch.equal(noise, before)


@every_solver
def test_gradients_flow_through(solver: Solver) -> None:
    rate = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    noise = _noise(1, 3)
    integrate(lambda x, t: rate * x, noise, 64, solver).endpoint.sum().backward()
    # The endpoint is noise * exp(-rate).
    expected = -(noise.sum() * math.exp(-0.5))
    torch.testing.assert_close(rate.grad, expected, rtol=2e-2 if solver is EULER else 1e-4, atol=0)


def test_get_solver_finds_every_solver_by_its_name() -> None:
    assert [get_solver(name) for name in ("euler", "midpoint", "heun", "rk4")] == [EULER, MIDPOINT, HEUN, RK4]


def test_get_solver_lists_the_names() -> None:
    with pytest.raises(
        ValueError, match=r"solver is 'dopri5'; allowed: euler, midpoint, heun, rk4; pick one"
    ):
        get_solver("dopri5")


@pytest.mark.parametrize("walk", [integrate, trajectory])
@pytest.mark.parametrize("num_steps", [0, -1])
def test_error_for_too_few_steps(walk: Callable[..., Any], num_steps: int) -> None:
    with pytest.raises(ValueError, match=rf"num_steps is {num_steps}; allowed: 1 or more"):
        walk(lambda x, t: x, _noise(2, 3), num_steps)


@pytest.mark.parametrize("time_dims", [-1, 3])
def test_error_for_time_dims(time_dims: int) -> None:
    with pytest.raises(ValueError, match=rf"time_dims is {time_dims}; allowed: 0 to 2"):
        integrate(lambda x, t: x, _noise(2, 3), 1, time_dims=time_dims)


@pytest.mark.parametrize("change", [lambda x: x[..., :2], lambda x: x.float()])
def test_error_for_a_velocity_of_another_shape_or_dtype(change: Callable[[Tensor], Tensor]) -> None:
    with pytest.raises(
        ValueError, match=r"velocity returned shape .*; allowed: those of x_t, \(2, 3\) and torch.float64"
    ):
        integrate(lambda x, t: change(x), _noise(2, 3), 1)


@pytest.mark.parametrize(
    ("a", "b", "c", "message"),
    [
        (
            ((),),
            (0.5, 0.5),
            (0.0, 1.0),
            r"1 rows in a, 2 weights in b and 2 nodes in c; allowed: one of each",
        ),
        ((), (), (), r"0 rows in a, 0 weights in b"),
        (((), (1.0, 1.0)), (0.5, 0.5), (0.0, 1.0), r"row 1 of a .*; allowed: 1 weights \(explicit"),
        (((), (0.5,)), (0.0, 1.0), (0.0, 1.0), r"row 1 of a .* with node 1.0; allowed: .* correct a or c"),
        (((), (0.5,)), (0.5, 1.0), (0.0, 0.5), r"b is \(0.5, 1.0\); allowed: weights that sum to 1"),
    ],
)
def test_error_for_a_tableau_that_is_none(a: Any, b: Any, c: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Solver("mine", a, b, c, order=1)
