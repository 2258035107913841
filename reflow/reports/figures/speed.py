"""How fast each way to train is, beside the founding loop, where its time goes, and what it is worth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from reflow.reports.figures.drawing import Drawing, legend_above, new_figure, rows_of, short, write
from reflow.reports.theme import color

_PARTS = {
    "data": ("otherway", 0.85),
    "prefix": ("noise", 0.55),
    "teacher": ("teacher", 0.85),
    "student forward": ("student", 0.55),
    "backward": ("student", 0.95),
    "optimizer": ("oneway", 0.8),
    "rest": ("line", 0.8),
}


def draw_speed(content: Mapping[str, Any]) -> Drawing:
    """Ratios of pairs per second with their spread, and the time of a pair by part.

    Args:
        content: of ``benchmark.json``.
    """
    standings = content["standings"]
    names = [standing["label"] for standing in standings]
    figure, grid = new_figure(1.2 + 0.3 * len(names), 1, 2, sharey=True)
    _ratios(grid[0, 0], standings)
    _times(grid[0, 1], standings)
    rows_of(grid[0, 0], names)
    grid[0, 1].tick_params(axis="y", length=0)
    grid[0, 1].spines["left"].set_visible(False)
    grid[0, 1].grid(axis="x")
    legend_above(grid[0, 1], columns=7)
    told = ", ".join(
        f"{standing['label']} {short(standing['ratio']['median'])} times"
        for standing in standings
        if standing["ratio"] is not None
    )
    return Drawing(
        figure,
        "Left: pairs per second over those of the founding loop in the same round, median, with the 10th to 90th "
        "percentile. Right: where the time of a pair goes, median of each part, as a share of the reference's.",
        "bars as long as the limit's, the student's own forward and backward and nothing else.",
        f"Speed: {told}.",
    )


def draw_quality(quality: Mapping[str, Any]) -> Drawing:
    """Endpoint error against seconds of training, a curve per contender.

    Args:
        quality: of ``benchmark.json``.
    """
    figure, grid = new_figure(4.2)
    axes = grid[0, 0]
    entries, styles = quality["contenders"], _styles(quality["contenders"])
    for entry in entries:
        points = [point for point in entry["curve"] if point["seconds"] > 0]
        axes.plot(
            [point["seconds"] for point in points],
            [100 * point["error"] for point in points],
            label=entry["label"],
            **styles[entry["variant"]],
        )
    for goal in quality["settings"]["goals"]:
        axes.axhline(100 * goal, color=color("line"), linewidth=0.9, linestyle=(0, (5, 3)), zorder=0)
    axes.set(xscale="log", yscale="log", xlabel="seconds of training")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 4, 5, 7)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_major_formatter("{x:g} %")
    axes.set_ylabel("endpoint error@1, held-out observations")
    axes.grid()
    legend_above(axes)
    goal = f"{min(quality['settings']['goals']):g}"
    told = ", ".join(
        f"{entry['label']} {'not reached' if seconds is None else short(seconds) + ' s'}"
        for entry in entries
        for seconds in [entry["seconds_to"][goal]]
    )
    return Drawing(
        figure,
        "How far the one-step student ends from its teacher while it trains, same held-out observations and noise "
        "for all; measuring, and filling a pair cache, are not counted. Dashed: the goals.",
        "a curve that meets the dashed lines further left.",
        f"Seconds to an endpoint error of {100 * float(goal):g} %: {told}.",
    )


def _styles(entries: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Colour by kind; among those with a live teacher the more noises the darker."""
    live = [entry["variant"] for entry in entries if entry["variant"].startswith("live")]
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        name = entry["variant"]
        if name in live:
            alpha = 0.35 + 0.65 * (live.index(name) + 1) / len(live)
            found[name] = {"color": color("student"), "alpha": alpha}
        elif name.startswith("pairs"):
            found[name] = {"color": color("otherway" if "prefix" in name else "oneway")}
        else:
            dashes = "solid" if name == "reference" else (0, (4, 2))
            found[name] = {"color": color("teacher"), "linestyle": dashes}
    return found


def _ratios(axes: Axes, standings: list[Mapping[str, Any]]) -> None:
    most = max(standing["ratio"]["high"] for standing in standings)
    for place, standing in enumerate(standings):
        ratio, name = standing["ratio"], standing["variant"]
        role = {"reference": "teacher", "limit": "noise"}.get(name, "student")
        axes.barh(place, ratio["median"], height=0.62, color=color(role), alpha=0.75)
        axes.plot([ratio["low"], ratio["high"]], [place, place], color=color("ink"), linewidth=1.2)
        write(axes, f"{short(ratio['median'])}x", (max(ratio["high"], ratio["median"]), place))
    axes.set_xlim(0, 1.25 * most)
    axes.set_title("pairs per second, times the reference")


def _times(axes: Axes, standings: list[Mapping[str, Any]]) -> None:
    whole = {standing["variant"]: sum(standing["seconds_per_pair"].values()) for standing in standings}
    unit = 0.01 * (whole.get("reference") or whole[standings[0]["variant"]] or 1.0)
    before = np.zeros(len(standings))
    for part, (role, alpha) in _PARTS.items():
        lengths = np.array([standing["seconds_per_pair"].get(part, 0.0) / unit for standing in standings])
        style: dict[str, Any] = {"color": color(role), "alpha": alpha, "label": part}
        axes.barh(range(len(standings)), lengths, left=before, height=0.62, **style)
        before = before + lengths
    axes.set_xlim(0, None)
    axes.set_title("time of a pair, % of the reference's")
