"""What every figure of a report is made of, and the few strokes they share."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from reflow.reports.theme import color

WIDTH = 7.4  # inches: at 72 to the inch, the letters of a figure are those of the page beside it


@dataclass(frozen=True)
class Drawing:
    """A figure and its words.

    Attributes:
        figure: drawn.
        reading: how to read it.
        good: what good looks like.
        label: what it shows, for those who cannot see it.
    """

    figure: Figure
    reading: str
    good: str
    label: str


def new_figure(height: float, rows: int = 1, columns: int = 1, **arguments: Any) -> tuple[Figure, np.ndarray]:
    """A figure of the page's width, and its axes ``[rows, columns]``.

    Args:
        height: in inches.
        rows: of axes.
        columns: of axes.
        **arguments: for ``Figure.subplots``.
    """
    figure = Figure(figsize=(WIDTH, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **arguments)


def panels(count: int, height: float) -> tuple[Figure, list[Axes]]:
    """A figure of so many axes, three in a row, all with the same rows.

    Args:
        count: how many.
        height: of each, in inches.
    """
    columns = min(3, count)
    lines = -(-count // columns)
    figure, grid = new_figure(lines * height, lines, columns, sharey=True)
    for axes in grid.flat[count:]:
        axes.set_visible(False)
    return figure, list(grid.flat[:count])


def write(axes: Axes, text: str, at: tuple[float, float], points: float = 6, size: float = 8.5) -> None:
    """A short text, so many points to the right of a place."""
    axes.annotate(text, at, textcoords="offset points", xytext=(points, 0), va="center", fontsize=size)


def legend_above(axes: Axes, columns: int = 5) -> None:
    """A legend of the whole figure, from what these axes show, that covers nothing."""
    axes.figure.legend(
        *axes.get_legend_handles_labels(),
        loc="outside upper left",
        ncols=columns,
        borderaxespad=0.1,
        borderpad=0.2,
        columnspacing=1.5,
        handlelength=1.6,
    )


def rows_of(axes: Axes, names: Sequence[str]) -> None:
    """Names as rows from the top, without ticks."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0, pad=7)
    for text in axes.get_yticklabels():
        text.set_color(color("ink"))
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")


def by_steps(metrics: Mapping[str, float], prefix: str) -> dict[int, float]:
    """Figures ``<prefix>@n`` by n, in order."""
    pattern = re.compile(re.escape(prefix) + r"@(\d+)$")
    found = {int(match[1]): value for key, value in metrics.items() if (match := pattern.match(key))}
    return dict(sorted(found.items()))


def contenders(names: Iterable[str]) -> list[str]:
    """``teacher@n`` and ``student@n`` in order: teacher first, more steps first."""

    def place(name: str) -> tuple[bool, int]:
        who, _, steps = name.partition("@")
        return who != "teacher", -int(steps)

    return sorted({name for name in names if re.fullmatch(r"\w+@\d+", name)}, key=place)


def who_color(name: str) -> str:
    """The colour of ``teacher@10`` or ``student``."""
    return color("teacher" if name.startswith("teacher") else "student")


def steps_of(n: float) -> str:
    """``1 step``, ``10 steps``."""
    return f"{n:.0f} step{'' if n == 1 else 's'}"


def steps_name(name: str) -> str:
    """``student@1`` or ``student@1-guided`` as people say it."""
    played, _, way = name.partition("-")
    who, _, steps = played.partition("@")
    return f"{who}, {steps_of(int(steps))}" + f", {way}" * bool(way)


def percent(value: float) -> str:
    """A rate with three digits, 8.32 %, and no more than two of them behind the point."""
    return f"{100 * value:.{2 if abs(value) < 0.0995 else 1}f} %"


def short(value: float) -> str:
    """A number with three digits, written out where that is short."""
    if value == 0 or not np.isfinite(value):
        return f"{value:g}"
    if 1e-3 <= abs(value) < 1e5:
        return f"{value:,.{max(0, 2 - int(np.floor(np.log10(abs(value)))))}f}"
    return f"{value:.2e}"
