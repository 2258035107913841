"""Fixed-step integration of a velocity field from noise (t = 1) to action (t = 0).

A solver is an explicit Runge-Kutta method, that is, its Butcher tableau; one loop runs them all. With
``EULER`` that loop is LeRobot's ``euler_integrate`` to the last bit.

Left out: adaptive steps, implicit methods, real-time chunking.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""``velocity(x_t, t) -> v_t``: ``t`` has the leading dimensions of ``x_t``; ``v_t`` its shape and dtype."""


@dataclass(frozen=True)
class Solver:
    """An explicit Runge-Kutta method by its Butcher tableau (Hairer, Norsett and Wanner 1993, section II.1).

    Attributes:
        name: The name it is configured by.
        a: Row ``i`` holds the weights of the ``i`` earlier slopes in the point of stage ``i``.
        b: Weights of the slopes in the step, one per stage; they sum to 1.
        c: Where in the step each stage lies, 0 (its start) to 1 (its end); ``c[i]`` is the sum of ``a[i]``.
        order: Order of convergence: the endpoint's error falls as ``num_steps ** -order``.

    Raises:
        UserError: If the tableau is not that of a consistent explicit method.
    """

    name: str
    a: tuple[tuple[float, ...], ...]
    b: tuple[float, ...]
    c: tuple[float, ...]
    order: int

    def __post_init__(self) -> None:
        if not len(self.a) == len(self.b) == len(self.c) > 0:
            raise UserError(
                f"solver {self.name!r} has {len(self.a)} rows in a, {len(self.b)} weights in b and "
                f"{len(self.c)} nodes in c; allowed: one of each per stage; complete the tableau"
            )
        for i, (row, node) in enumerate(zip(self.a, self.c, strict=True)):
            if len(row) != i or not math.isclose(sum(row), node, abs_tol=1e-12):
                raise UserError(
                    f"solver {self.name!r}: row {i} of a is {row} with node {node}; allowed: {i} weights "
                    "(explicit methods refer to earlier stages only) that sum to the node; correct a or c"
                )
        if not math.isclose(sum(self.b), 1.0, abs_tol=1e-12):
            raise UserError(f"solver {self.name!r}: b is {self.b}; allowed: weights that sum to 1; correct b")

    @property
    def stages(self) -> int:
        """Velocity calls per step."""
        return len(self.b)


EULER = Solver("euler", a=((),), b=(1.0,), c=(0.0,), order=1)
MIDPOINT = Solver("midpoint", a=((), (0.5,)), b=(0.0, 1.0), c=(0.0, 0.5), order=2)
HEUN = Solver("heun", a=((), (1.0,)), b=(0.5, 0.5), c=(0.0, 1.0), order=2)
RK4 = Solver(
    "rk4",
    a=((), (0.5,), (0.0, 0.5), (0.0, 0.0, 1.0)),
    b=(1 / 6, 1 / 3, 1 / 3, 1 / 6),
    c=(0.0, 0.5, 0.5, 1.0),
    order=4,
)
SOLVERS: dict[str, Solver] = {solver.name: solver for solver in (EULER, MIDPOINT, HEUN, RK4)}


def get_solver(name: str) -> Solver:
    """Find a solver by name.

    Args:
        name: One of the keys of `SOLVERS`.

    Returns:
        The solver.

    Raises:
        UserError: If there is none of that name.
    """
    if name not in SOLVERS:
        raise UserError(
            f"solver is {name!r}; allowed: {', '.join(SOLVERS)}; pick one, or build a Solver of your own"
        )
    return SOLVERS[name]


@dataclass(frozen=True)
class Integration:
    """Where integration ended and what it cost.

    Attributes:
        endpoint: The state at t = 0, in the shape of the noise.
        nfe: Number of velocity calls, counted.
    """

    endpoint: Float[Tensor, "..."]
    nfe: int


@dataclass(frozen=True)
class Trajectory:
    """Every state on the way from noise to action.

    Attributes:
        states: ``[n + 1, *b, h, d]``; the first is the noise, the last the endpoint.
        velocities: ``[n, *b, h, d]``; the field at the first ``n`` states.
        times: ``[n + 1]``, from 1 to 0.
        nfe: Number of velocity calls, counted.
    """

    states: Float[Tensor, "..."]
    velocities: Float[Tensor, "..."]
    times: Float[Tensor, " n_plus_1"]
    nfe: int

    @property
    def endpoint(self) -> Float[Tensor, "..."]:
        """The state at t = 0, ``[*b, h, d]``."""
        return self.states[-1]


class _Stepper:
    """Take steps of a field, and count how often it is asked."""

    def __init__(
        self, velocity: Velocity, noise: Tensor, num_steps: int, solver: Solver, time_dims: int
    ) -> None:
        if num_steps < 1:
            raise UserError(f"num_steps is {num_steps}; allowed: 1 or more; 1 is a one-step policy")
        if not 0 <= time_dims <= noise.ndim:
            raise UserError(
                f"time_dims is {time_dims}; allowed: 0 to {noise.ndim}, the number of leading dimensions of "
                f"noise {tuple(noise.shape)} that t has too; use 1 for [b, h, d] and 2 for [b, k, h, d]"
            )
        self._velocity = velocity
        self._solver = solver
        self._dt = -1.0 / num_steps
        self._time_shape = noise.shape[:time_dims]
        self._time_dtype = torch.float64 if noise.dtype == torch.float64 else torch.float32
        self.nfe = 0

    def __call__(self, x_t: Tensor, step: int) -> tuple[Tensor, Tensor]:
        """Return the state after step number ``step``, and the velocity before it."""
        slopes: list[Tensor] = []
        for row, node in zip(self._solver.a, self._solver.c, strict=True):
            # At node 0 this is LeRobot's `1.0 + step * dt`, bit for bit.
            slopes.append(self._ask(self._move(x_t, slopes, row), 1.0 + (step + node) * self._dt))
        return self._move(x_t, slopes, self._solver.b), slopes[0]

    def _ask(self, x_t: Tensor, time: float) -> Tensor:
        t = torch.full(self._time_shape, time, dtype=self._time_dtype, device=x_t.device)
        v_t = self._velocity(x_t, t)
        self.nfe += 1
        if v_t.shape != x_t.shape or v_t.dtype != x_t.dtype:
            raise UserError(
                f"velocity returned shape {tuple(v_t.shape)} and {v_t.dtype}; allowed: those of x_t, "
                f"{tuple(x_t.shape)} and {x_t.dtype}; cast or reshape inside the policy's adapter"
            )
        return v_t

    def _move(self, x_t: Tensor, slopes: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        for weight, v_t in zip(weights, slopes, strict=True):
            if weight != 0.0:
                x_t = x_t + (self._dt * weight) * v_t
        return x_t


def integrate(
    velocity: Velocity,
    noise: Float[Tensor, "..."],
    num_steps: int,
    solver: Solver = EULER,
    *,
    time_dims: int = 1,
) -> Integration:
    """Integrate a velocity field from noise at t = 1 to t = 0 in equal steps.

    Args:
        velocity: The field, ``velocity(x_t, t) -> v_t``; see `Velocity`. ``t`` is float32 (float64 if the
            noise is).
        noise: The state at t = 1, shape ``[*b, h, d]``; never changed in place.
        num_steps: Number of steps, at least 1. The cost is ``num_steps * solver.stages`` velocity calls.
        solver: The method.
        time_dims: How many leading dimensions of ``noise`` the time tensor has: 1 for ``[b, h, d]``, 2 for
            ``[b, k, h, d]``.

    Returns:
        The endpoint at t = 0, and the number of velocity calls.

    Raises:
        UserError: If ``num_steps`` or ``time_dims`` is out of range, or the field changes shape or dtype.
    """
    step_from = _Stepper(velocity, noise, num_steps, solver, time_dims)
    x_t = noise
    for step in range(num_steps):
        x_t, _ = step_from(x_t, step)
    return Integration(endpoint=x_t, nfe=step_from.nfe)


def trajectory(
    velocity: Velocity,
    noise: Float[Tensor, "..."],
    num_steps: int,
    solver: Solver = EULER,
    *,
    time_dims: int = 1,
) -> Trajectory:
    """Integrate as `integrate` does, and keep every state and the velocity there.

    Args:
        velocity: The field; see `integrate`.
        noise: The state at t = 1, shape ``[*b, h, d]``; never changed in place.
        num_steps: Number of steps, at least 1.
        solver: The method.
        time_dims: How many leading dimensions of ``noise`` the time tensor has.

    Returns:
        The states, velocities and times; its endpoint equals that of `integrate` to the last bit.

    Raises:
        UserError: As `integrate`.
    """
    step_from = _Stepper(velocity, noise, num_steps, solver, time_dims)
    states, velocities = [noise], []
    for step in range(num_steps):
        x_t, v_t = step_from(states[-1], step)
        states.append(x_t)
        velocities.append(v_t)
    times = [1.0 + step * (-1.0 / num_steps) for step in range(num_steps)] + [0.0]
    dtype = torch.float64 if noise.dtype == torch.float64 else torch.float32
    return Trajectory(
        states=torch.stack(states),
        velocities=torch.stack(velocities),
        times=torch.tensor(times, dtype=dtype, device=noise.device),
        nfe=step_from.nfe,
    )
