"""How far joints jump where a chunk takes over from the one before, against latency."""

from __future__ import annotations

from math import isfinite

from reflow.reports.content import Content
from reflow.reports.figures.by_latency import columns_of, scale, styles, waiting
from reflow.reports.figures.drawing import Drawing, legend_above, new_figure, short, steps_name
from reflow.reports.reaction import best_rows, reaction_rows


def draw_jumps(content: Content) -> Drawing | None:
    """A line per contender over the latency of its chunks."""
    rows = [row for row in best_rows(reaction_rows(content.metrics)) if isfinite(row.jump)]
    if not rows:
        return None
    names = list(dict.fromkeys(row.name for row in rows))
    late = [row.ms for row in rows if row.ms > 0]
    start = waiting(late)
    figure, grid = new_figure(2.8)
    axes = grid[0, 0]
    for name, style in styles(names).items():
        own = [row for row in rows if row.name == name]
        at = [row.ms if row.ms > 0 else start for row in own]
        axes.plot(at, [row.jump for row in own], label=steps_name(name), marker="o", markersize=4, **style)
    scale(axes, late, start if any(row.ms == 0 for row in rows) else None)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("latency of the contender's own chunk, ms")
    axes.set_ylabel("jump, unit of the joints")
    legend_above(axes, columns_of(names))
    told = "; ".join(f"{steps_name(row.name)} at {row.ms:.4g} ms {short(row.jump)}" for row in rows)
    return Drawing(
        figure,
        "Largest change of a joint (no gripper) from the last command of a chunk to the first of the next, median of "
        "the episodes, at the number of actions per chunk that solves most.",
        "low, and no higher than what the robot is told inside a chunk.",
        f"Jumps between chunks against latency: {told}.",
    )
