"""Dot plots of a comparison: one panel per metric, one line per row, every seed a point.

Left out: the numbers themselves (:mod:`reflow.reports.comparison_table`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, isfinite
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator, ScalarFormatter

from reflow.reports.compare import METHOD, Row, RunComparison
from reflow.reports.compared_metrics import SUCCESS, direction, is_percent
from reflow.reports.comparison_table import ARROWS, setting_text
from reflow.reports.theme import color, drawing

COLUMNS, MANY = 3, 9  # panels side by side; one more of them for more panels than that
LOG_FROM = 2.5  # ratio of the largest to the smallest value from which a logarithmic axis shows more
_LEGEND_INCHES = 0.45
_TITLE = 34  # characters above a panel
_POINT: dict[str, Any] = {"linestyle": "", "markerfacecolor": color("oneway")}
_SEED = _POINT | {
    "marker": "o",
    "markersize": 4.2,
    "markerfacecolor": "none",
    "markeredgecolor": color("student"),
}
_MEAN = _POINT | {"marker": "|", "markersize": 10, "markeredgewidth": 2.2, "markeredgecolor": color("ink")}
_BEST = _POINT | {"marker": "D", "markersize": 6, "markeredgecolor": "none"}
_INTERVAL: dict[str, Any] = {"color": color("line"), "linewidth": 2.2}
_TICKS = ((5, (1, 1.5, 2, 3, 4, 5, 7)), (20, (1, 2, 3, 5)), (1000, (1, 3)), (float("inf"), (1,)))


@dataclass(frozen=True)
class Place:
    """A line of every panel: a row, or the name of the teacher above its rows."""

    y: float
    label: str
    row: Row | None


def comparison_figure(comparison: RunComparison) -> Figure:
    """Draws every metric of the comparison.

    Args:
        comparison: with at least one metric.

    Returns:
        The figure, in the theme's light colours.
    """
    places = list(_places(comparison))
    columns = min(COLUMNS + (len(comparison.metrics) > MANY), len(comparison.metrics))
    lines = ceil(len(comparison.metrics) / columns)
    height = 0.8 + 0.21 * (places[-1].y + 1)
    label_inches = 0.075 * max(len(place.label) for place in places)
    with drawing():
        figure = Figure(figsize=(label_inches + 3.2 * columns, lines * height + _LEGEND_INCHES))
        grid = figure.subplots(lines, columns, squeeze=False, sharey=True)
        panels = list(grid.flat)
        for axes, metric in zip(panels, comparison.metrics, strict=False):
            _panel(axes, comparison, metric, places)
        for axes in panels[len(comparison.metrics) :]:
            axes.set_visible(False)
        panels[0].set_ylim(places[-1].y + 0.7, places[0].y - 0.7)
        panels[0].set_yticks([place.y for place in places], [place.label for place in places])
        for first in grid[:, 0]:
            for label, place in zip(first.get_yticklabels(), places, strict=True):
                label.set_color(color("ink"))
                label.set_fontweight("bold" if place.row is None else "normal")
        figure.legend(handles=list(_legend(comparison)), loc="outside lower center", ncols=4)
    return figure


def row_label(comparison: RunComparison, row: Row) -> str:
    """What distinguishes a row from the others of its teacher; of the teachers, where nothing else does."""
    keys = [key for key in comparison.keys if key != "teacher"] or list(comparison.keys)
    parts = (
        setting_text(row.settings.get(key))
        if key in ("fix", "teacher", METHOD)
        else f"{key.rpartition('.')[2]} {setting_text(row.settings.get(key))}"
        for key in keys
    )
    return ", ".join(parts)


def _places(comparison: RunComparison) -> Iterator[Place]:
    headed = "teacher" in comparison.keys and len(comparison.keys) > 1
    y, teacher = 0.0, object()
    for row in comparison.rows:
        if headed and row.settings.get("teacher") != teacher:
            teacher = row.settings.get("teacher")
            y += 0.5 if y else 0.0
            yield Place(y, f"teacher: {setting_text(teacher)}", None)
            y += 1
        yield Place(y, row_label(comparison, row), row)
        y += 1


def _panel(axes: Axes, comparison: RunComparison, metric: str, places: list[Place]) -> None:
    scale = 100 if is_percent(metric) else 1
    best = comparison.best(metric)
    shown: list[float] = []
    for place in places:
        value = place.row.values.get(metric) if place.row else None
        if place.row is not None:
            axes.axhline(place.y, color=color("grid"), linewidth=0.8, zorder=0)
        if value is None or not isfinite(value.mean):
            continue
        ends = [scale * end for end in value.interval or ()]
        points = [scale * point for point in value.points if isfinite(point)]
        mean = scale * value.mean
        if ends:
            axes.plot(ends, [place.y] * 2, solid_capstyle="round", zorder=1, **_INTERVAL)
        if len(points) > 1:
            axes.plot(points, [place.y] * len(points), markeredgewidth=0.9, zorder=2, **_SEED)
        mark = _BEST | {"markeredgecolor": color("card"), "markeredgewidth": 0.8, "markersize": 6.5}
        axes.plot([mean], [place.y], zorder=3, **(mark if place.row in best else _MEAN))
        shown += [*ends, *points, mean]
    _scale(axes, shown, bounded=SUCCESS.fullmatch(metric) is not None)
    title = f"{metric}{', %' if scale == 100 else ''}{ARROWS[direction(metric)]}"
    axes.set_title(title if len(title) <= _TITLE else title.replace("/", "/\n", 1))
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _scale(axes: Axes, shown: list[float], *, bounded: bool) -> None:
    ratio = max(shown) / min(shown) if shown and min(shown) > 0 else 0.0
    if ratio > LOG_FROM and not bounded:
        axes.set_xscale("log")
        subs = next(subs for most, subs in _TICKS if ratio < most)
        axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=12))
        axes.xaxis.set_minor_locator(NullLocator())
        if min(shown) >= 1e-4 and max(shown) < 1e5:
            axes.xaxis.set_major_formatter("{x:g}")
    else:
        axes.xaxis.set_major_locator(MaxNLocator(5))
        axes.xaxis.set_major_formatter(ScalarFormatter(useOffset=False))
    axes.grid(axis="x")


def _legend(comparison: RunComparison) -> Iterator[Line2D]:
    values = [value for row in comparison.rows for value in row.values.values()]
    place = ", best of its teacher" if "teacher" in comparison.keys else ", best"
    for shown, label, style in (
        (any(len(value.points) > 1 for value in values), "one seed", _SEED),
        (True, "mean", _MEAN),
        (any(map(comparison.best, comparison.metrics)), f"mean{place}", _BEST),
        (any(value.interval for value in values), "95 % interval of all episodes", _INTERVAL),
    ):
        if shown:
            yield Line2D([], [], label=label, **style)
