"""How the endpoint error fell in every row of a comparison: by training step, and by seconds of training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from reflow.reports.compare import Row, RunComparison
from reflow.reports.comparison_figure import row_label
from reflow.reports.curves import Curve
from reflow.reports.theme import color, drawing

_COLORS = ("student", "teacher", "padding", "oneway", "otherway")
_TICKS = (1, 1.5, 2, 3, 4, 5, 6, 8)  # of a decade
_DASHES = ("solid", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))


def curves_figure(comparison: RunComparison) -> Figure | None:
    """Draws the first metric of the comparison that its runs have curves of.

    Args:
        comparison: of runs of any kind.

    Returns:
        The figure, in the theme's light colours; None where no run has a curve of more than one validation.
    """
    metric = next(
        (name for name in comparison.metrics if any(_curves(row, name) for row in comparison.rows)), None
    )
    if metric is None:
        return None
    with drawing():
        figure = Figure(figsize=(7.4, 3.4 + 0.17 * -(-len(comparison.rows) // 3)))
        by_steps, by_seconds = figure.subplots(1, 2, sharey=True)
        styles = cycle([(hue, dash) for dash in _DASHES for hue in _COLORS])
        for row, (hue, dash) in zip(comparison.rows, styles, strict=False):
            curves = _curves(row, metric)
            if not curves:
                continue
            steps = sorted(set.intersection(*(set(curve.steps) for curve in curves)))
            kept = [[curve.steps.index(step) for step in steps] for curve in curves]
            values = np.mean([_chosen(c.values, k) for c, k in zip(curves, kept, strict=True)], axis=0)
            seconds = np.mean([_chosen(c.seconds, k) for c, k in zip(curves, kept, strict=True)], axis=0)
            style = {"color": color(hue), "linestyle": dash, "marker": "o", "markersize": 2.5}
            by_steps.plot(steps, 100 * values, label=row_label(comparison, row), **style)
            by_seconds.plot(seconds, 100 * values, **style)
        for axes, what in ((by_steps, "training steps"), (by_seconds, "seconds of training")):
            axes.set_xlabel(what)
            axes.set_xlim(left=0)
            axes.set_yscale("log")  # rows that fail would press the others together
            axes.yaxis.set_major_locator(LogLocator(subs=_TICKS))
            axes.yaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_minor_locator(NullLocator())
            axes.grid(axis="y")
        by_steps.set_ylabel(f"{metric}, %")
        lines, labels = by_steps.get_legend_handles_labels()
        figure.legend(lines, labels, loc="outside upper left", ncols=4, handlelength=3.2)
    return figure


def _curves(row: Row, metric: str) -> list[Curve]:
    found = [run.curves[metric] for run in row.runs if metric in run.curves]
    return [curve for curve in found if len(curve.steps) > 1]


def _chosen(values: Sequence[float], places: Sequence[int]) -> list[float]:
    return [values[place] for place in places]
