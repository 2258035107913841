"""The teacher's own error: how far its steps end from where its field leads, by solver and by number of steps.

Two references. ``teacher/solver_error`` is against ``reference_steps`` Euler steps, as training logs it. Solvers
are compared against as many velocity calls of the midpoint method, which is of second order and never asks at t=0;
``reference_gap`` says how far the two references are apart.

At t=0 a policy was hardly trained, since no noise is left there, and the last step of Heun and of Runge-Kutta 4 asks
just there: they can be much worse than their order promises. That is why all are tried.

Left out: what the error does to the robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float64
from torch import Tensor

from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.flow import EULER, HEUN, MIDPOINT, RK4, Solver, integrate
from reflow.metrics import relative_difference
from reflow.probes.observations import TEACHER, Observed

LARGE = 0.10
"""A teacher further than this from its own field teaches its solver's mistakes."""
WORTHWHILE, BETTER = 0.05, 0.5
"""Another solver is a warning above the one own error, if it leaves less than the other share of it."""


def solvers_to_try(num_steps: int) -> tuple[tuple[Solver, int], ...]:
    """Few steps of Euler, then every solver at equal velocity calls and at equal steps, each once.

    Args:
        num_steps: the teacher's.
    """
    tries = [(EULER, n) for n in (1, 2, 4, num_steps, 2 * num_steps)]
    for solver in (MIDPOINT, HEUN, RK4):
        tries += [(solver, max(1, num_steps // solver.stages)), (solver, num_steps)]
    return tuple(dict.fromkeys(tries))


@torch.no_grad()
def solver_errors(
    observed: Sequence[Observed], tries: Sequence[tuple[Solver, int]], reference_steps: int = 100
) -> dict[str, Float64[Tensor, " n"]]:
    """Relative endpoint error (real dimensions) of every try, one noise per observation.

    Args:
        observed: held-out observations.
        tries: solver and number of steps.
        reference_steps: velocity calls of both references.

    Returns:
        One number per observation: ``<solver>@<steps>`` against the midpoint reference, and ``reference_gap``.
    """
    best = (MIDPOINT, max(1, reference_steps // MIDPOINT.stages))
    found: dict[str, list[Tensor]] = {}
    for seen in observed:
        field, space = seen.by.policies[TEACHER].field(seen.context(TEACHER)), seen.by.space
        ends = {
            one: integrate(field, seen.randn[:, :1], one[1], one[0], time_dims=2).endpoint
            for one in (best, *tries)
        }
        values = {f"{solver.name}@{steps}": ends[solver, steps] for solver, steps in tries}
        for name, value in (values | {"reference_gap": seen.reference(reference_steps)}).items():
            error = relative_difference(value, ends[best], space)[:, 0].cpu()
            found.setdefault(name, []).append(error)
    return {name: torch.cat(errors) for name, errors in found.items()}


def solver_check(
    observed: Sequence[Observed],
    *,
    solver_error: float,
    num_steps: int,
    solver: Solver = EULER,
    reference_steps: int = 100,
) -> Check:
    """Measures other solvers and says whether more steps or another solver are worth it.

    Args:
        observed: held-out observations.
        solver_error: the figure ``teacher/solver_error``.
        num_steps: the steps the teacher's endpoints would be integrated with.
        solver: and the solver.
        reference_steps: velocity calls of the references.
    """
    tries = solvers_to_try(num_steps)
    if (solver, num_steps) not in tries:
        tries = (*tries, (solver, num_steps))
    errors = solver_errors(observed, tries, reference_steps)
    figures = {name: values.mean().item() for name, values in errors.items()}
    lines = [
        (one.name, steps, steps * one.stages, f"{figures[f'{one.name}@{steps}']:.2%}")
        for one, steps in sorted(tries, key=lambda one: (one[0].stages, one[0].name, one[1]))
    ]
    table = Table(
        f"the teacher's solver error (reference: {reference_steps} calls of midpoint)",
        ("solver", "steps", "calls", "error"),
        rows(lines),
    )
    findings = solver_findings(errors, num_steps, solver, solver_error)
    return Check("solver", figures, findings, (table,))


def solver_findings(
    errors: Mapping[str, Float64[Tensor, " n"]], num_steps: int, solver: Solver, solver_error: float
) -> tuple[Finding, ...]:
    """What the errors say about the steps and the solver asked about.

    Another solver is preferred only where its gain, observation by observation, is twice its own standard error: a
    few observations near a fork, where two solvers take different ways, make the mean jump.
    """
    figures = {name: values.mean().item() for name, values in errors.items()}
    own = figures[f"{solver.name}@{num_steps}"]
    twice = figures[f"{EULER.name}@{2 * num_steps}"]
    large = own > LARGE
    found = [
        Finding(
            "solver_error",
            "warning" if large else "ok",
            f"The teacher's {num_steps} {solver.name} steps end {own:.1%} from where its field leads"
            f" ({solver_error:.1%} for its own Euler steps, against many of them).",
            f"A student can be no better than its teacher's endpoints; limit {LARGE:.0%}. {2 * num_steps} Euler "
            f"steps leave {twice:.1%}."
            if large
            else "",
            f"teacher.num_steps={2 * num_steps}" if large else None,
        )
    ]
    calls = num_steps * solver.stages
    equal = [
        (one, calls // one.stages)
        for one in (EULER, MIDPOINT, HEUN, RK4)
        if f"{one.name}@{calls // one.stages}" in figures
    ]
    best, steps = min(equal, key=lambda one: figures[f"{one[0].name}@{one[1]}"])
    left = figures[f"{best.name}@{steps}"]
    gain = errors[f"{solver.name}@{num_steps}"] - errors[f"{best.name}@{steps}"]
    sure = len(gain) > 1 and gain.mean() > 2 * gain.std() / len(gain) ** 0.5
    if left < BETTER * own and own > 0.01 and sure:
        found.append(
            Finding(
                "better_solver",
                "warning" if own > WORTHWHILE else "note",
                f"{best.name} with {steps} steps, at no more velocity calls, leaves {left:.1%} instead of {own:.1%}.",
                "The student's targets come closer to the teacher's field for nothing; compare it with the teacher "
                "as deployed (Euler) all the same.",
                f"solver={best.name} teacher.num_steps={steps}",
            )
        )
    return tuple(found)
