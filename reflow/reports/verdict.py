"""What the figures of a run amount to, in one sentence.

Success in the simulator leads where there is any; else the endpoint error between its two floors, and the gap between
what training reports and what deployment gets. The thresholds are constants of this file. Left out: statistics.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import inf

from reflow.reports.content import Verdict
from reflow.reports.figures.drawing import by_steps, percent

CLOSE_ENOUGH = 0.05
"""Endpoint error that is good where the teacher's own solver error is smaller still."""
GOOD_GAP, BAD_GAP = 1.25, 2.0
"""Deploy gap up to which training and deployment tell the same story; from which they tell different ones."""
UNFINISHED = "unfinished"
_SIGNIFICANT = 0.05
_NUMBERS = dict(
    enumerate(["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
)


def verdict_of(metrics: Mapping[str, float], student_steps: int | None = None) -> Verdict:
    """The verdict of a training run or an evaluation.

    Good: a success rate shown not to be inferior to the teacher's; without a simulator, an endpoint error of at most
    5 % or the teacher's own solver error, whichever is larger, and a deploy gap of at most 1.25. Bad: a success rate
    shown to be inferior or significantly lower, by as many pairs as were planned; an endpoint error no smaller than
    the undistilled teacher's at as many steps, or a deploy gap of 2 or more. Anything else is undecided.

    Args:
        metrics: flat.
        student_steps: that the student was made for; None for the fewest that were measured.
    """
    played = by_steps(metrics, "success/student")
    if played:
        return _success(metrics, student_steps if student_steps in played else min(played))
    errors = by_steps(metrics, "student/endpoint_error")
    if errors:
        return _endpoint(metrics, student_steps if student_steps in errors else min(errors))
    if "deploy/gap" in metrics:
        sentence, good = _gap(metrics["deploy/gap"])
        return Verdict(f"{sentence[0].upper()}{sentence[1:]}.", None if good else good)
    return Verdict("Nothing was measured that a verdict could rest on.", None)


def steps_in_words(n: int) -> str:
    """One step, ten steps, 50 steps."""
    return f"{_NUMBERS.get(n, n)} step{'' if n == 1 else 's'}"


def _success(metrics: Mapping[str, float], n: int) -> Verdict:
    name = f"success/student@{n}"
    rate, episodes = metrics[name], metrics.get(f"{name}/episodes")
    among = f" of {episodes:,.0f} episodes" if episodes else " of episodes"
    said = (
        f"{steps_in_words(n).capitalize()} of the student solve{'s' if n == 1 else ''} {percent(rate)}{among}"
    )
    teachers = by_steps(metrics, "success/teacher")
    compared = [m for m in teachers if f"{name}_vs_teacher@{m}/difference" in metrics]
    planned = [m for m in compared if f"{name}_vs_teacher@{m}/primary" in metrics]
    if not compared:
        interval = ""
        if f"{name}/low" in metrics and f"{name}/high" in metrics:
            low, high = percent(metrics[f"{name}/low"]), percent(metrics[f"{name}/high"])
            interval = f" (95 % interval {low} to {high})"
        return Verdict(f"{said}{interval}; the teacher was not played beside it.", None)
    m = max(planned or compared)
    said += f", {steps_in_words(m)} of its teacher {percent(teachers[m])}"
    pair = f"{name}_vs_teacher@{m}"
    conclusion, p = conclusion_of(metrics, pair), metrics.get(f"{pair}/mcnemar_p")
    if conclusion in ("better", "not inferior"):
        return Verdict(f"{said}: the student is {conclusion}.", True)
    if conclusion == "inferior":
        return Verdict(f"{said}: the student is inferior.", False)
    pairs = metrics.get(f"{pair}/planned_pairs")
    if conclusion == UNFINISHED:
        return Verdict(f"{said}: unfinished, nothing is concluded before {pairs:,.0f} planned pairs.", None)
    if metrics[f"{pair}/difference"] < 0 and p is not None and p < _SIGNIFICANT:
        return Verdict(f"{said}: the student is significantly worse.", False)
    among = f" by the {pairs:,.0f} planned pairs" if pairs else ""
    return Verdict(f"{said}: it is not shown{among} that the student is not inferior.", None)


def conclusion_of(metrics: Mapping[str, float], pair: str) -> str | None:
    """What was concluded of two contenders on the same episodes.

    Args:
        metrics: flat.
        pair: ``success/<one>_vs_<other>``.

    Returns:
        ``better``, ``not inferior``, ``not shown`` or ``inferior`` (`reflow.metrics.paired`); ``unfinished`` before
        all planned pairs are played; None where the two were not compared.
    """
    if f"{pair}/difference" not in metrics:
        return None
    episodes = metrics.get(f"{pair.partition('_vs_')[0]}/episodes", inf)
    if episodes < metrics.get(f"{pair}/planned_pairs", 0):
        return UNFINISHED
    noninferior = metrics.get(f"{pair}/noninferior")
    if noninferior is None:
        return "not shown"
    if not noninferior:
        return "inferior"
    return "better" if metrics.get(f"{pair}/superior") else "not inferior"


def held_against(metrics: Mapping[str, float]) -> str | None:
    """The contender that the others were to be held against, say ``teacher@10``; None where that was not planned."""
    pattern = re.compile(r"success/.+_vs_(.+)/primary")
    return next((match[1] for name in metrics if (match := pattern.fullmatch(name))), None)


def _endpoint(metrics: Mapping[str, float], n: int) -> Verdict:
    teacher = by_steps(metrics, "teacher/endpoint_error")
    own = next((steps_in_words(steps) for steps, error in teacher.items() if error == 0), "its own steps")
    error, solver = metrics[f"student/endpoint_error@{n}"], metrics.get("teacher/solver_error")
    said = f"{steps_in_words(n).capitalize()} of the student end{'s' if n == 1 else ''} {percent(error)} from where "
    said += f"{own} of its teacher end"
    undistilled = teacher.get(n)
    floors = []
    if undistilled:
        floors.append(f"undistilled {percent(undistilled)}")
    if solver is not None:
        floors.append(f"the teacher's own solver error {percent(solver)}")
    judged = error <= max(solver or 0.0, CLOSE_ENOUGH)
    good = True if judged else None
    if undistilled and error >= undistilled:
        good = False
        floors.append("distillation gained nothing at these steps")
    parts = [said + (f" ({', '.join(floors)})" if floors else "")]
    if "deploy/gap" in metrics:
        sentence, gap_good = _gap(metrics["deploy/gap"])
        parts.append(sentence)
        good = False if gap_good is False or good is False else good if gap_good else None
    return Verdict("; ".join(parts) + ".", good)


def _gap(gap: float) -> tuple[str, bool | None]:
    if gap <= GOOD_GAP:
        return f"the deploy gap is {gap:.2f}: what training reports is what deployment gets", True
    if gap < BAD_GAP:
        return f"the deploy gap is {gap:.2f}: deployment gets somewhat less than training reports", None
    return f"the deploy gap is {gap:.1f}: what training reports is not what deployment gets", False
