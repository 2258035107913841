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
    write,
)
from reflow.reports.theme import color


def draw_success(content: Content) -> Drawing | None:
    """Success rates as dots on their Wilson intervals."""
    rows = content.success
    if not rows:
        return None
    names = [steps_name(f"{row.name}@{row.num_steps}") for row in rows]
    rates = [row.successes / row.episodes for row in rows]
    figure, grid = new_figure(0.8 + 0.36 * len(rows))
    axes = grid[0, 0]
    rows_of(axes, names)
    for place, (row, rate) in enumerate(zip(rows, rates, strict=True)):
        style = {"color": who_color(row.name), "clip_on": False}
        axes.plot([row.low, row.high], [place, place], linewidth=6, alpha=0.3, **style)
        axes.plot([rate], [place], "o", markersize=8, markeredgecolor=color("card"), zorder=3, **style)
        axes.text(
            1.02,
            place,
            f"{percent(rate)} of {row.episodes:,}",
            transform=axes.get_yaxis_transform(),
            va="center",
            fontsize=8.5,
        )
    axes.set_xlim(0, 1)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
    told = ", ".join(f"{name} {percent(rate)}" for name, rate in zip(names, rates, strict=True))
    return Drawing(
        figure,
        "Share of episodes solved, same seeds and same noise for all; the bar is the 95 % Wilson interval.",
        "the student's dot lies within the teacher's bar, while the undistilled teacher at as few steps lies far "
        "below.",
        f"Success in the simulator: {told}.",
    )


def draw_latency(content: Content) -> Drawing | None:
    """Median time of a chunk, split into encoding and velocities, with the 95th percentile."""
    rows = content.latency
    if not rows:
        return None
    names = [steps_name(f"{row.name}@{row.nfe}") for row in rows]
    figure, grid = new_figure(1.0 + 0.27 * len(rows))
    axes = grid[0, 0]
    rows_of(axes, names)
    places, bar = range(len(rows)), {"height": 0.62}
    prefix, velocity = [row.prefix_p50_ms for row in rows], [row.velocity_p50_ms for row in rows]
    colors = [who_color(row.name) for row in rows]
    axes.barh(places, prefix, color=color("noise"), alpha=0.55, label="prefix: cameras, words, state", **bar)
    axes.barh(places, velocity, left=prefix, color=colors, label="velocities", **bar)
    longest = [max(row.total_p95_ms, row.total_p50_ms) for row in rows]
    for place, row in enumerate(rows):
        until = row.total_p95_ms
        axes.plot([prefix[place] + velocity[place], until], [place] * 2, color=color("line"), linewidth=1.2)
        axes.plot([until] * 2, [place - 0.2, place + 0.2], color=color("line"), linewidth=1.6)
        write(axes, f"{short(row.total_p50_ms)} ms", (longest[place], place))
    axes.set_xlim(0, 1.2 * max(longest))
    axes.set_xlabel("ms per chunk, median; the stroke is the 95th percentile")
    legend_above(axes)
    told = ", ".join(f"{name} {short(row.total_p50_ms)} ms" for row, name in zip(rows, names, strict=True))
    return Drawing(
        figure,
        "What one chunk costs: encoding once (grey), then one velocity per step (coloured).",
        "the coloured part of the student's bar is as many times shorter as it has fewer steps; what is grey, "
        "distillation does not shorten.",
        f"Latency: {told}.",
    )
