"""What a comparison of students means: figures, tables and findings. `reflow.doctor.student` measures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch

from reflow.doctor.finding import Check, Finding, Severity, Table, rows
from reflow.doctor.student import Comparison
from reflow.probes.observations import STUDENT, TEACHER

GOOD = 0.05
"""An endpoint error that is good enough, or the teacher's own solver error where that is larger."""
WORSE = 1.05
"""A new student is worse than an old one above this factor."""
_RANGES = 5


def student_check(found: Comparison, joints: Sequence[str], *, num_steps: int, solver_error: float) -> Check:
    """Turns a comparison into a check.

    Args:
        found: students and teacher, measured.
        joints: names of the real dimensions.
        num_steps: steps of the judged student.
        solver_error: the teacher's own, relative.
    """
    return Check(
        "student",
        student_figures(found, joints),
        student_findings(found, num_steps, solver_error),
        student_tables(found, joints),
    )


def student_figures(found: Comparison, joints: Sequence[str]) -> dict[str, float]:
    """Flat: ``<who>/velocity_error{@t, /joint, /step}``, and what they can be compared with."""
    figures, space = dict[str, float](), found.space
    for who in found.names:
        by_dimension = found.by_dimension(who)
        figures |= _named(f"{who}/velocity_error@t={{:g}}", found.bins, found.by_time(who).tolist())
        figures |= _named(f"{who}/velocity_error/joint/{{}}", joints, space.real(by_dimension).tolist())
        if space.padding_dim:
            figures[f"{who}/velocity_error/padding"] = space.padding(by_dimension).mean().item()
        steps = found.by_step(who).tolist()
        figures |= _named(f"{who}/velocity_error/step/{{}}", range(space.chunk_size), steps)
    figures |= _named("guess_alone@t={:g}", found.bins, found.alone.tolist())
    figures["guess_alone_at_own_times"] = space.real(found.alone_own).mean().item()
    figures["velocity_floor@t=1"] = 0.0
    if len(found.cosines):
        figures["path_cosine_min"] = found.cosines.min().item()
        figures["path_cosine_mean"] = found.cosines.mean().item()
    return figures


def _named(name: str, places: Sequence[object], values: Sequence[float]) -> dict[str, float]:
    return {name.format(place): value for place, value in zip(places, values, strict=True)}


def student_findings(found: Comparison, num_steps: int, solver_error: float) -> tuple[Finding, ...]:
    """Is the student better than not distilling, good enough, and better than the old one?"""
    error, undistilled = (found.endpoint(who, num_steps) for who in (STUDENT, TEACHER))
    limit = max(GOOD, solver_error)
    what = (
        f"{STUDENT}: endpoint error {error:.2%} in {num_steps} step(s), undistilled {undistilled:.2%}; relative "
        f"velocity error {found.relative(STUDENT):.2%} at its own times."
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
    new = found.endpoint(STUDENT, num_steps)
    findings = []
    for other in found.names[1:-1]:
        old = found.endpoint(other, num_steps)
        worse = new > WORSE * old
        what = (
            f"In {num_steps} step(s) {STUDENT} ends {new:.2%} from the teacher, {other} {old:.2%}; velocity "
            f"{found.relative(STUDENT):.2%} against {found.relative(other):.2%}."
        )
        severity: Severity = "warning" if worse else "ok"
        findings.append(
            Finding("old_against_new", severity, what, "The new student is worse." if worse else "")
        )
    return tuple(findings)


def student_tables(found: Comparison, joints: Sequence[str]) -> tuple[Table, ...]:
    """Endpoints, and velocity error by time, by dimension and by chunk position; beside each what is new less old."""
    names, space = found.names, found.space
    heads = (*names, *(f"{STUDENT} - {other}" for other in names[1:-1]))

    def line(name: object, values: Iterable[Any], *alone: Any) -> tuple[object, ...]:
        first, *others = map(float, values)
        return (name, first, *others, *(first - other for other in others[:-1]), *map(float, alone))

    by_time, by_dimension, by_step = (
        [of(who) for who in names] for of in (found.by_time, found.by_dimension, found.by_step)
    )
    ends = [line(n, (found.endpoint(who, n) for who in names)) for n in found.nfe]
    times = [line(f"{t:g}", (one[i] for one in by_time), found.alone[i]) for i, t in enumerate(found.bins)]
    own, alone = f"its own: {', '.join(f'{t:g}' for t in found.own_times)}", found.alone_own
    times.append(line(own, (one.mean() for one in by_step), space.real(alone).mean()))
    dimensions = [
        line(joint, (one[i] for one in by_dimension), alone[:, i].mean()) for i, joint in enumerate(joints)
    ]
    if space.padding_dim:
        padding = (space.padding(one).mean() for one in by_dimension)
        dimensions.append(line("padding, mean", padding, space.padding(alone).mean()))
    parts = torch.arange(space.chunk_size).tensor_split(min(_RANGES, space.chunk_size))
    steps = [
        line(
            f"{part[0]} to {part[-1]}", (one[part].mean() for one in by_step), space.real(alone)[part].mean()
        )
        for part in parts
    ]
    percents = tuple((str(n), *(f"{value:.2%}" for value in values)) for n, *values in ends)
    with_alone = (*heads, "guess alone")
    return (
        Table("endpoint error against the teacher at its own steps", ("steps", *heads), percents),
        Table("mean squared velocity error by time (real dimensions)", ("t", *with_alone), rows(times)),
        Table("the same at its own times, by dimension", ("joint", *with_alone), rows(dimensions)),
        Table("the same, by chunk position", ("steps", *with_alone), rows(steps)),
    )
