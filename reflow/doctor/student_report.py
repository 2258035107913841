"""What a comparison of students means: figures, tables and findings. `reflow.doctor.student` measures."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.doctor.student import TEACHER, Comparison
from reflow.flow import ActionSpace

GOOD = 0.05
"""An endpoint error that is good enough, or the teacher's own solver error where that is larger."""
WORSE = 1.05
"""A new student is worse than an old one above this factor."""
_RANGES = 5


def student_check(
    found: Comparison, space: ActionSpace, joints: Sequence[str], *, num_steps: int, solver_error: float
) -> Check:
    """Turns a comparison into a check.

    Args:
        found: students and teacher, measured.
        space: of their actions.
        joints: names of the real dimensions.
        num_steps: steps of the judged student.
        solver_error: the teacher's own, relative.
    """
    return Check(
        "student",
        student_figures(found, space, joints),
        student_findings(found, num_steps, solver_error),
        (
            _endpoints(found),
            _by_time(found, space),
            _by_dimension(found, space, joints),
            _by_step(found, space),
        ),
    )


def student_figures(found: Comparison, space: ActionSpace, joints: Sequence[str]) -> dict[str, float]:
    """Flat: ``<who>/{endpoint_error@n, velocity_relative_error, velocity_error@t, .../joint, .../step}``."""
    figures: dict[str, float] = {}
    for who, walker in found.walkers.items():
        figures |= {f"{who}/endpoint_error@{n}": error for n, error in walker.endpoint.items()}
        figures[f"{who}/velocity_relative_error"] = walker.relative
        for t, error in zip(found.bins, walker.by_time.tolist(), strict=True):
            figures[f"{who}/velocity_error@t={t:g}"] = error
        for joint, error in zip(joints, space.real(walker.by_dimension).tolist(), strict=True):
            figures[f"{who}/velocity_error/joint/{joint}"] = error
        if space.padding_dim:
            figures[f"{who}/velocity_error/padding"] = space.padding(walker.by_dimension).mean().item()
        for step, error in enumerate(walker.by_step.tolist()):
            figures[f"{who}/velocity_error/step/{step}"] = error
    for t, error in zip(found.bins, found.alone.tolist(), strict=True):
        figures[f"guess_alone@t={t:g}"] = error
    figures["guess_alone_at_own_times"] = space.real(found.alone_own).mean().item()
    figures["velocity_floor@t=1"] = 0.0
    if len(found.cosines):
        figures["path_cosine_min"] = found.cosines.min().item()
        figures["path_cosine_mean"] = found.cosines.mean().item()
    return figures


def student_findings(found: Comparison, num_steps: int, solver_error: float) -> tuple[Finding, ...]:
    """Is the student better than not distilling, good enough, and better than the old one?"""
    name, new = next(iter(found.walkers.items()))
    teacher = found.walkers[TEACHER]
    error, undistilled = new.endpoint[num_steps], teacher.endpoint[num_steps]
    limit = max(GOOD, solver_error)
    what = (
        f"{name}: endpoint error {error:.2%} in {num_steps} step(s), undistilled {undistilled:.2%}; relative "
        f"velocity error {new.relative:.2%} at its own times."
    )
    if error >= undistilled > 0:
        verdict = Finding(
            "student_worse",
            "error",
            what,
            "It ends further from the teacher than the teacher itself in as few steps: distilling it did harm.",
            "+fix=full32",
        )
    elif error > limit:
        verdict = Finding(
            "student_error",
            "warning",
            what,
            f"Limit {limit:.1%}: 5 %, or the teacher's own solver error where that is larger.",
            "trainer.max_steps=... (twice what it had), objective.draws=..., or data of more episodes",
        )
    else:
        verdict = Finding("student_error", "ok", what)
    return (verdict, _floor(found), *_old(found, num_steps))


def _floor(found: Comparison) -> Finding:
    if not len(found.cosines):
        return Finding(
            "velocity_floor",
            "note",
            "With one noise per observation nothing can be said about crossing paths.",
            "",
            "draws=4",
        )
    lowest = found.cosines.min().item()
    return Finding(
        "velocity_floor",
        "ok" if lowest > -0.9 else "note",
        f"The irreducible velocity error is 0 at t=1, where x_t is the noise. Below, it is above 0 only where paths "
        f"of one observation cross (cosine -1); the lowest of {len(found.cosines)} pairs of noises is {lowest:.2f}.",
        "" if lowest > -0.9 else "Some paths nearly cross: in the middle of the way some error will stay.",
    )


def _old(found: Comparison, num_steps: int) -> tuple[Finding, ...]:
    (name, new), *others = found.walkers.items()
    return tuple(
        Finding(
            "old_against_new",
            "warning" if new.endpoint[num_steps] > WORSE * old.endpoint[num_steps] else "ok",
            f"In {num_steps} step(s) {name} ends {new.endpoint[num_steps]:.2%} from the teacher, {other} "
            f"{old.endpoint[num_steps]:.2%}; velocity {new.relative:.2%} against {old.relative:.2%}.",
            "The new student is worse." if new.endpoint[num_steps] > WORSE * old.endpoint[num_steps] else "",
        )
        for other, old in others
        if other != TEACHER
    )


def _headings(found: Comparison) -> tuple[str, ...]:
    """One column per policy, and one for new less old where there is an old."""
    names = list(found.walkers)
    students = [name for name in names if name != TEACHER]
    return (*names, *(f"{students[0]} - {other}" for other in students[1:]))


def _with_differences(values: Sequence[float]) -> tuple[float, ...]:
    # Students first, the teacher last.
    return (*values, *(values[0] - other for other in values[1:-1]))


def _endpoints(found: Comparison) -> Table:
    walkers = list(found.walkers.values())
    lines = [
        (str(n), *(f"{value:.2%}" for value in _with_differences([one.endpoint[n] for one in walkers])))
        for n in walkers[0].endpoint
    ]
    return Table(
        "endpoint error against the teacher at its own steps", ("steps", *_headings(found)), tuple(lines)
    )


def _by_time(found: Comparison, space: ActionSpace) -> Table:
    walkers = list(found.walkers.values())
    lines: list[tuple[object, ...]] = [
        (
            f"{t:g}",
            *_with_differences([one.by_time[i].item() for one in walkers]),
            found.alone[i].item(),
        )
        for i, t in enumerate(found.bins)
    ]
    times = ", ".join(f"{t:g}" for t in found.own_times)
    own = _with_differences([one.by_step.mean().item() for one in walkers])
    lines.append((f"its own: {times}", *own, space.real(found.alone_own).mean().item()))
    return Table(
        "mean squared velocity error by time (real dimensions)",
        ("t", *_headings(found), "guess alone"),
        rows(lines),
    )


def _by_dimension(found: Comparison, space: ActionSpace, joints: Sequence[str]) -> Table:
    columns = [one.by_dimension for one in found.walkers.values()]
    alone = found.alone_own.mean(0)
    lines: list[tuple[object, ...]] = [
        (joint, *_with_differences([column[i].item() for column in columns]), alone[i].item())
        for i, joint in enumerate(joints)
    ]
    if space.padding_dim:
        padding = [space.padding(column).mean().item() for column in columns]
        lines.append(("padding, mean", *_with_differences(padding), space.padding(alone).mean().item()))
    return Table(
        "the same at its own times, by dimension", ("joint", *_headings(found), "guess alone"), rows(lines)
    )


def _by_step(found: Comparison, space: ActionSpace) -> Table:
    columns = [one.by_step for one in found.walkers.values()]
    alone = space.real(found.alone_own).mean(1)
    parts = torch.arange(space.chunk_size).tensor_split(min(_RANGES, space.chunk_size))
    lines = [
        (
            f"{part[0]} to {part[-1]}",
            *_with_differences([column[part].mean().item() for column in columns]),
            alone[part].mean().item(),
        )
        for part in parts
    ]
    return Table("the same, by chunk position", ("steps", *_headings(found), "guess alone"), rows(lines))
