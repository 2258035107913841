"""Joint by joint: how far the student's actions are from the teacher's, how straight it goes, how it moves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from reflow.reports.content import Content
from reflow.reports.dimensions import dimensions_of, readable
from reflow.reports.figures.drawing import (
    Drawing,
    contenders,
    legend_above,
    new_figure,
    panels,
    rows_of,
    short,
    steps_name,
    steps_of,
    who_color,
    write,
)
from reflow.reports.theme import color

_ROW = 0.2  # inches
_MOTIONS = {
    "jerk": "jerk",
    "boundary_jump_mean": "chunk jump, mean",
    "boundary_jump_max": "chunk jump, largest",
    "limit_violations": "steps beyond joint limits",
    "gripper_flips": "gripper flips",
}


def draw_joint_error(content: Content) -> Drawing | None:
    """Physical endpoint error of each joint, for each number of steps."""
    error = content.arrays.get("endpoint_error_joint/student")
    nfe = content.arrays.get("endpoint_error_joint/nfe")
    if error is None or nfe is None or not error.size:
        return None
    names = dimensions_of(content, error.shape[1]).names
    figure, grid = new_figure(1.0 + _ROW * len(names))
    axes = grid[0, 0]
    rows_of(axes, names)
    places = np.arange(len(names))
    first = int(np.argmin(nfe))
    axes.hlines(places, error.min(axis=0), error.max(axis=0), color=color("grid"), linewidth=3)
    for number in np.argsort(-nfe, kind="stable"):
        faded: dict[str, Any] = {"s": 20, "color": color("noise"), "zorder": 2}
        style = {"s": 42, "color": color("student"), "zorder": 3} if number == first else faded
        style["alpha"] = 1.0 if number == first else 0.35 + 0.5 * (1 - number / len(nfe))
        label = steps_of(nfe[number])
        axes.scatter(error[number], places, linewidths=0, clip_on=False, label=label, **style)
    axes.set_xlim(left=0)
    axes.set_xlabel("root mean square difference from the teacher, in the joint's own unit")
    legend_above(axes, columns=8)
    worst = int(error[first].argmax())
    return Drawing(
        figure,
        "How far the student's actions are from the teacher's, in the units the robot is told (radians for most "
        "joints), same observation and noise; green at the fewest steps.",
        "green dots near zero on every joint; more steps (grey) are not meant to be better for a student of one.",
        f"Physical error by joint; largest at {names[worst]}, {short(float(error[first, worst]))}.",
    )


def draw_straightness(content: Content) -> Drawing | None:
    """How far from straight the flow is, joint by joint, teacher beside student."""
    student = _under(content.metrics, "straightness/joint")
    if not student:
        return None
    teacher = _under(content.metrics, "straightness/teacher/joint")
    names = [name for name in content.joint_names if name in student] or list(student)
    figure, grid = new_figure(1.0 + _ROW * len(names))
    axes = grid[0, 0]
    _dumbbells(axes, names, {"teacher": teacher, "student": student})
    axes.set_xlabel("departure from a straight line (0 is straight)")
    legend_above(axes)
    return Drawing(
        figure,
        "Time average of the squared distance between velocity and chord, over the squared chord, along its own "
        "trajectory.",
        "the student lies left of the teacher, near 0, where one step is exact; one that is asked at t = 1 alone may "
        "be bent further on.",
        f"Straightness by joint; student's largest {short(max(student.values()))}.",
    )


def draw_motion(content: Content) -> Drawing | None:
    """Jerk, jumps, limit violations and gripper flips, one panel each."""
    who = contenders(key.split("/")[1] for key in content.metrics if key.startswith("motion/"))
    shown = {
        name: {one: content.metrics[key] for one in who if (key := f"motion/{one}/{name}") in content.metrics}
        for name in _MOTIONS
    }
    shown = {name: values for name, values in shown.items() if values}
    if not shown:
        return None
    figure, grid = panels(len(shown), 0.75 + 0.22 * len(who))
    for axes, (name, values) in zip(grid, shown.items(), strict=True):
        bars = [values.get(one, np.nan) for one in who]
        axes.barh(range(len(who)), bars, height=0.6, color=[who_color(one) for one in who])
        rows_of(axes, [steps_name(one) for one in who])
        for place, value in enumerate(bars):
            write(axes, short(value), (max(value, 0.0), place), 4, 8)
        axes.set_title(_MOTIONS[name])
        axes.set_xlim(0, 1.35 * (max(values.values()) or 1.0))
        axes.set_xticks([])
        axes.grid(visible=False)
    return Drawing(
        figure,
        "Physical units; a chunk jump is the step from the last action of a chunk to the first of the next. "
        "Shorter is calmer.",
        "the student's bars are no longer than the teacher's.",
        "Motion: " + "; ".join(f"{_MOTIONS[name]} {_told(values)}" for name, values in shown.items()) + ".",
    )


def draw_joint_motion(content: Content) -> Drawing | None:
    """Jerk and jumps of each joint, contenders beside each other."""
    who = contenders(key.split("/")[1] for key in content.metrics if key.startswith("motion/"))
    shown = {
        name: {one: _under(content.metrics, f"motion/{one}/{name}") for one in who}
        for name in ("jerk", "boundary_jump_mean")
    }
    shown = {name: values for name, values in shown.items() if any(values.values())}
    if not shown:
        return None
    known = next(iter(next(iter(shown.values())).values()))
    names = [name for name in content.joint_names if name in known] or list(known)
    figure, grid = new_figure(1.1 + _ROW * len(names), 1, len(shown), sharey=True)
    for axes, (name, values) in zip(grid[0], shown.items(), strict=True):
        _dumbbells(axes, names, values)
        axes.set_title(_MOTIONS[name])
    legend_above(grid[0, 0])
    return Drawing(
        figure,
        "The same, joint by joint.",
        "student and teacher dots lie on each other.",
        f"Jerk and jumps by joint for {', '.join(steps_name(one) for one in who)}.",
    )


def _told(values: Mapping[str, float]) -> str:
    return ", ".join(f"{short(value)} for {steps_name(one)}" for one, value in values.items())


def _under(metrics: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Figures ``<prefix>/<joint>`` by joint."""
    start = f"{prefix}/"
    found = {key.removeprefix(start): value for key, value in metrics.items() if key.startswith(start)}
    return {joint: value for joint, value in found.items() if "/" not in joint}


def _dumbbells(axes: Axes, names: list[str], values: Mapping[str, Mapping[str, float]]) -> None:
    rows_of(axes, [readable(name) for name in names])
    places = np.arange(len(names))
    table = np.array([[among.get(name, np.nan) for name in names] for among in values.values() if among])
    axes.hlines(
        places, np.nanmin(table, axis=0), np.nanmax(table, axis=0), color=color("grid"), linewidth=3, zorder=1
    )
    for one, row in zip((one for one, among in values.items() if among), table, strict=True):
        label = steps_name(one) if "@" in one else one
        axes.scatter(
            row, places, s=32, color=who_color(one), linewidths=0, clip_on=False, zorder=2, label=label
        )
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
