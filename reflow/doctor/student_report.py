"""What a comparison of students means: figures, tables and findings. `reflow.doctor.student` measures."""

from __future__ import annotations

from collections.abc import Sequence

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
        (_endpoints(found), _by_time(found), _by_dimension(found, joints), _by_step(found)),
    )


def student_figures(found: Comparison, joints: Sequence[str]) -> dict[str, float]:
    """Flat: ``<who>/velocity_error{@t, /joint, /step}``, and what they can be compared with."""
    figures, space = dict[str, float](), found.space
    for who in found.names:
        for t, error in zip(found.bins, found.by_time(who).tolist(), strict=True):
            figures[f"{who}/velocity_error@t={t:g}"] = error
        for joint, error in zip(joints, space.real(found.by_dimension(who)).tolist(), strict=True):
            figures[f"{who}/velocity_error/joint/{joint}"] = error
        if space.padding_dim:
            figures[f"{who}/velocity_error/padding"] = space.padding(found.by_dimension(who)).mean().item()
        for step, error in enumerate(found.by_step(who).tolist()):
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


def _headings(found: Comparison) -> tuple[str, ...]:
    """One column per policy, and one for new less old where there is an old."""
    return (*found.names, *(f"{STUDENT} - {other}" for other in found.names[1:-1]))


def _with_differences(values: Sequence[float]) -> tuple[float, ...]:
    return (*values, *(values[0] - other for other in values[1:-1]))


def _endpoints(found: Comparison) -> Table:
    lines = [
        (
            str(n),
            *(f"{value:.2%}" for value in _with_differences([found.endpoint(who, n) for who in found.names])),
        )
        for n in found.nfe
    ]
    return Table(
        "endpoint error against the teacher at its own steps", ("steps", *_headings(found)), tuple(lines)
    )


def _by_time(found: Comparison) -> Table:
    profiles = {who: found.by_time(who).tolist() for who in found.names}
    lines: list[tuple[object, ...]] = [
        (f"{t:g}", *_with_differences([profiles[who][i] for who in found.names]), found.alone[i].item())
        for i, t in enumerate(found.bins)
    ]
    times = ", ".join(f"{t:g}" for t in found.own_times)
    own = _with_differences([found.by_step(who).mean().item() for who in found.names])
    lines.append((f"its own: {times}", *own, found.space.real(found.alone_own).mean().item()))
    return Table(
        "mean squared velocity error by time (real dimensions)",
        ("t", *_headings(found), "guess alone"),
        rows(lines),
    )


def _by_dimension(found: Comparison, joints: Sequence[str]) -> Table:
    space, alone = found.space, found.alone_own.mean(0)
    errors = {who: found.by_dimension(who) for who in found.names}
    lines: list[tuple[object, ...]] = [
        (joint, *_with_differences([errors[who][i].item() for who in found.names]), alone[i].item())
        for i, joint in enumerate(joints)
    ]
    if space.padding_dim:
        padding = _with_differences([space.padding(errors[who]).mean().item() for who in found.names])
        lines.append(("padding, mean", *padding, space.padding(alone).mean().item()))
    columns = ("joint", *_headings(found), "guess alone")
    return Table("the same at its own times, by dimension", columns, rows(lines))


def _by_step(found: Comparison) -> Table:
    errors = {who: found.by_step(who) for who in found.names}
    alone, size = found.space.real(found.alone_own).mean(1), found.space.chunk_size
    lines = [
        (
            f"{part[0]} to {part[-1]}",
            *_with_differences([errors[who][part].mean().item() for who in found.names]),
            alone[part].mean().item(),
        )
        for part in torch.arange(size).tensor_split(min(_RANGES, size))
    ]
    return Table("the same, by chunk position", ("steps", *_headings(found), "guess alone"), rows(lines))
