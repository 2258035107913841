"""What deployment gets: success in the simulator with its uncertainty, and the time of a chunk."""

from __future__ import annotations

from reflow.reports.content import Content
from reflow.reports.figures.drawing import (
    Drawing,
    legend_above,
    new_figure,
    percent,
    rows_of,
    short,
    steps_name,
    who_color,
)
from reflow.reports.theme import color


def draw_success(content: Content) -> Drawing | None:
    """Success rates as dots on their Wilson intervals."""
    rows = content.success
    if not rows:
        return None
    names = [f"{row.name}@{row.num_steps}" for row in rows]
    figure, grid = new_figure(0.8 + 0.36 * len(rows))
    axes = grid[0, 0]
    rows_of(axes, [steps_name(name) for name in names])
    for place, (row, name) in enumerate(zip(rows, names, strict=True)):
        rate = row.successes / row.episodes
        axes.plot(
            [row.low, row.high], [place, place], color=who_color(name), linewidth=6, alpha=0.3, clip_on=False
        )
        axes.plot(
            [rate],
            [place],
            "o",
            color=who_color(name),
            markersize=8,
            markeredgecolor=color("card"),
            clip_on=False,
            zorder=3,
        )
        axes.annotate(
            f"{percent(rate)} of {row.episodes:,}",
            (1.02, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=8.5,
        )
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    told = ", ".join(
        f"{steps_name(name)} {percent(row.successes / row.episodes)}"
        for row, name in zip(rows, names, strict=True)
    )
    return Drawing(
        figure,
        "Share of episodes solved, same seeds and same noise for all; the bar is the 95 % Wilson interval.",
        "the student's dot lies within the teacher's bar, while the undistilled teacher at as few steps lies far "
        "below.",
        f"Success in the simulator: {told}.",
    )


def draw_latency(content: Content) -> Drawing | None:
    """Median time of a chunk, split into prefix and velocities, with the 95th percentile."""
    rows = content.latency
    if not rows:
        return None
    names = [f"{row.name}@{row.nfe}" for row in rows]
    figure, grid = new_figure(1.0 + 0.27 * len(rows))
    axes = grid[0, 0]
    rows_of(axes, [steps_name(name) for name in names])
    places = range(len(rows))
    prefix = [row.prefix_p50_ms for row in rows]
    velocity = [row.velocity_p50_ms for row in rows]
    axes.barh(
        places, prefix, height=0.62, color=color("noise"), alpha=0.55, label="prefix: cameras, words, state"
    )
    axes.barh(
        places,
        velocity,
        left=prefix,
        height=0.62,
        color=[who_color(name) for name in names],
        label="velocities",
    )
    for place, row in enumerate(rows):
        axes.plot(
            [row.prefix_p50_ms + row.velocity_p50_ms, row.total_p95_ms],
            [place, place],
            color=color("line"),
            linewidth=1.2,
        )
        axes.plot([row.total_p95_ms] * 2, [place - 0.2, place + 0.2], color=color("line"), linewidth=1.6)
        axes.annotate(
            f"{short(row.total_p50_ms)} ms",
            (max(row.total_p95_ms, row.total_p50_ms), place),
            textcoords="offset points",
            xytext=(6, 0),
            va="center",
            fontsize=8.5,
        )
    axes.set_xlim(0, 1.2 * max(max(row.total_p95_ms, row.total_p50_ms) for row in rows))
    axes.set_xlabel("ms per chunk, median; the stroke is the 95th percentile")
    legend_above(axes)
    told = ", ".join(
        f"{steps_name(name)} {short(row.total_p50_ms)} ms" for row, name in zip(rows, names, strict=True)
    )
    return Drawing(
        figure,
        "What one chunk costs: encoding the observation once (grey), then one velocity per step (coloured).",
        "the coloured part of the student's bar is as many times shorter as it has fewer steps; what is grey, "
        "distillation does not shorten.",
        f"Latency: {told}.",
    )
