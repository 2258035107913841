"""Noise, velocity and endpoint on real and on padding dimensions: teacher against student."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes

from reflow.reports.content import Content
from reflow.reports.figures.drawing import Drawing, legend_above, new_figure, short
from reflow.reports.theme import color

_WHATS = {"noise": "noise", "velocity": "velocity at t = 1", "endpoint": "endpoint"}
_PARTS = {"real": "real dimensions", "padding": "padding"}
_BINS = 61
_LABELS = {"teacher": "teacher (noise: as deployed)", "student": "student (noise: as trained)"}


def draw_padding(content: Content) -> Drawing | None:
    """Histograms, a row each for real dimensions and padding."""
    samples = {
        (who, what, part): values[np.isfinite(values)]
        for who in _LABELS
        for what in _WHATS
        for part in _PARTS
        if (values := content.arrays.get(f"histogram/{who}/{what}/{part}")) is not None and values.size
    }
    whats = [what for what in _WHATS if any(key[1] == what for key in samples)]
    parts = [part for part in _PARTS if any(key[2] == part for key in samples)]
    if not samples:
        return None
    figure, grid = new_figure(0.9 + 1.55 * len(parts), len(parts), len(whats), sharex="col")
    for number, (row, part) in enumerate(zip(grid, parts, strict=True)):
        for axes, what in zip(row, whats, strict=True):
            _panel(axes, {who: samples.get((who, what, part)) for who in _LABELS}, _limit(samples, what))
            if number == 0:
                axes.set_title(_WHATS[what])
        row[0].set_ylabel(_PARTS[part], color=color("padding" if part == "padding" else "ink"))
    legend_above(grid[0, 0])
    spread = "; ".join(
        f"{who}, {what} on {part}: standard deviation {short(float(values.std()))}"
        for (who, what, part), values in samples.items()
    )
    return Drawing(
        figure,
        "How often each value comes up; filled the teacher as deployed, the line the student.",
        "line and filling agree in every panel, the padding included. Padding endpoints as wide as noise: this "
        "teacher's padding was never supervised; near zero: it was.",
        f"Histograms. {spread}.",
    )


def _limit(samples: Mapping[tuple[str, str, str], np.ndarray], what: str) -> float:
    values = np.concatenate([np.abs(values) for key, values in samples.items() if key[1] == what])
    return max(float(np.quantile(values, 0.999)), 1e-3) * 1.05


def _panel(axes: Axes, values: Mapping[str, np.ndarray | None], limit: float) -> None:
    edges = np.linspace(-limit, limit, _BINS + 1)
    tops = []
    for who, sample in values.items():
        if sample is None:
            continue
        heights = np.histogram(np.clip(sample, -limit, limit), edges)[0] / sample.size
        tops.append(float(heights.max()))
        if who == "teacher":
            axes.stairs(
                heights, edges, fill=True, color=color(who), alpha=0.35, linewidth=0, label=_LABELS[who]
            )
        else:
            axes.stairs(heights, edges, color=color(who), linewidth=1.5, label=_LABELS[who])
    axes.set(yticks=[], xlim=(-limit, limit), ylim=(0, 1.08 * max(tops, default=1.0)))
    axes.spines["left"].set_visible(False)
    axes.locator_params(axis="x", nbins=5)
