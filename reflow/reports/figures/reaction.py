"""Success against latency: what acting sooner is worth, at the same latency and on the same machine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from matplotlib.axes import Axes

from reflow.reports.content import Content
from reflow.reports.figures.by_latency import columns_of, scale, styles, waiting
from reflow.reports.figures.drawing import (
    Drawing,
    legend_above,
    new_figure,
    percent,
    short,
    steps_name,
)
from reflow.reports.reaction import MEASURED, ReactionRow, best_rows, measured_name, reaction_rows
from reflow.reports.theme import color


def draw_reaction(content: Content) -> Drawing | None:
    """A line per contender over the latency of its chunks; beside it over that of the student's, where known."""
    rows = reaction_rows(content.metrics)
    if not rows:
        return None
    best = best_rows(rows)
    names = list(dict.fromkeys(row.name for row in rows))
    measured = {name: content.metrics.get(measured_name(name)) for name in names}
    unit = next((name for name in reversed(names) if name.startswith("student") and measured[name]), None)
    figure, grid = new_figure(3.7, 1, 2 if unit else 1, sharey=True)
    _panel(grid[0, 0], names, rows, best, lambda row: row.ms)
    grid[0, 0].set_title("at the same latency")
    grid[0, 0].set_xlabel("latency of the contender's own chunk, ms")
    grid[0, 0].set_ylabel("success")
    beside = ""
    if unit is not None:
        share = {name: (measured[unit] or 0) / (ms or 1) for name, ms in measured.items()}
        _panel(grid[0, 1], names, rows, best, lambda row: share[row.name] * row.ms)
        grid[0, 1].set_title("on the same machine")
        grid[0, 1].set_xlabel(f"latency of a chunk of the {steps_name(unit)}, ms")
        costs = ", ".join(f"{steps_name(name)} {short(1 / share[name])}" for name in names if name != unit)
        beside = (
            f" Right: the same points on one machine, fast or slow, on which the {steps_name(unit)} has that latency "
            f"and each other one as many times more as measured here ({costs}); a straight line is drawn between "
            "what was played."
        )
    legend_above(grid[0, 0], columns_of(names))
    return Drawing(
        figure,
        "Share of episodes solved while the world goes on as the policy thinks, with 95 % Wilson bands, at the "
        "number of actions per chunk that solves most (written beside the point; pale: the others). Diamonds: the "
        f"latency measured on this machine.{beside}",
        "the student's line stays high where the teacher's has fallen: further right at the same latency is the "
        "policy, further right on the same machine is what fewer steps are for.",
        f"Success against latency: {_told(best)}.",
    )


def _panel(
    axes: Axes,
    names: Sequence[str],
    rows: Sequence[ReactionRow],
    best: Sequence[ReactionRow],
    place: Callable[[ReactionRow], float],
) -> None:
    late = [place(row) for row in rows if row.ms > 0]
    start = waiting(late)
    for name, style in styles(names).items():
        own = [row for row in best if row.name == name]
        at = [place(row) if row.ms > 0 else start for row in own]
        axes.fill_between(
            at,
            [row.low for row in own],
            [row.high for row in own],
            color=style["color"],
            alpha=0.13,
            linewidth=0,
        )
        axes.plot(at, [row.rate for row in own], label=steps_name(name), **style)
        for row, x in zip(own, at, strict=True):
            marker, size = ("D", 7) if row.latency == MEASURED else ("o", 4)
            edge: dict[str, Any] = {"markeredgecolor": color("card"), "markersize": size}
            axes.plot([x], [row.rate], marker, color=style["color"], zorder=3, **edge)
            axes.annotate(
                f"{row.n_action_steps}",
                (x, row.rate),
                textcoords="offset points",
                xytext=(0, 6),
                ha="center",
                fontsize=6.5,
                color=style["color"],
            )
        others = [row for row in rows if row.name == name and row not in own]
        axes.plot(
            [place(row) if row.ms > 0 else start for row in others],
            [row.rate for row in others],
            "o",
            color=style["color"],
            markersize=2.6,
            alpha=0.4,
            zorder=1,
        )
    scale(axes, late, start if any(row.ms == 0 for row in rows) else None)
    axes.set_ylim(0, 1.04)
    axes.yaxis.set_major_formatter(lambda rate, _: f"{100 * rate:.0f} %")


def _told(best: Sequence[ReactionRow]) -> str:
    return "; ".join(
        f"{steps_name(row.name)} at {row.ms:.4g} ms {percent(row.rate)} with {row.n_action_steps} actions a chunk"
        for row in best
    )
