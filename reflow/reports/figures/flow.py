"""The flow of one observation: a fan of trajectories from noise to action, real dimensions beside padding."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection

from reflow.reports.content import Content
from reflow.reports.dimensions import Dimensions, dimensions_of
from reflow.reports.figures.drawing import Drawing, new_figure, steps_of
from reflow.reports.theme import color

_WHO = ("teacher", "student")


def draw_flow(content: Content) -> Drawing | None:
    """Trajectories, teacher above student, on two real dimensions and one of padding."""
    fans = {
        who: (content.arrays[f"fan/{who}"], content.arrays[f"fan/{who}/times"])
        for who in _WHO
        if f"fan/{who}" in content.arrays and f"fan/{who}/times" in content.arrays
    }
    if not fans:
        return None
    first = next(iter(fans.values()))[0]
    dimensions = dimensions_of(content, first.shape[-1])
    chosen = _most_spread(first[:, -1], dimensions)
    figure, grid = new_figure(0.7 + 1.75 * len(fans), len(fans), len(chosen), sharex=True, sharey="col")
    ways = first[:, -1] > _middle(first[:, -1])  # [k, d]: which way each noise takes
    same = all(fan.shape[0] == len(first) and np.allclose(fan[:, 0], first[:, 0]) for fan, _ in fans.values())
    for number, (row, (who, (fan, times))) in enumerate(zip(grid, fans.items(), strict=True)):
        for axes, dimension in zip(row, chosen, strict=True):
            _panel(axes, fan[..., dimension], times, ways[:, dimension] if same else None, who)
            if number == 0:
                padding = dimensions.real is not None and dimension >= dimensions.real
                axes.set_title(dimensions.names[dimension], color=color("padding" if padding else "ink"))
        row[0].set_ylabel(f"{who}, {steps_of(fan.shape[1] - 1)}")
        row[0].yaxis.label.set_color(color(who))
    for axes in grid[-1]:
        axes.set_xlabel("t: 1 noise, 0 action")
    colours = ", coloured by the end the teacher brings them to" if same else ""
    return Drawing(
        figure,
        f"One observation, {len(first)} noises, one chunk step: the way of each noise to its action{colours}; shown "
        "are the real dimensions whose ends differ most.",
        "straight lines to the same ends; a colour that changes sides is a noise that the student sends elsewhere, a "
        "bundle in between is an average of two ways.",
        f"Trajectories of one observation from {len(first)} noises, of {' and '.join(fans)}.",
    )


def _most_spread(ends: np.ndarray, dimensions: Dimensions) -> list[int]:
    spread = ends.std(axis=0)
    real = dimensions.native if dimensions.real is None else dimensions.real
    chosen = sorted(np.argsort(-spread[:real], kind="stable")[:2].tolist())
    if real < dimensions.native:
        chosen.append(real + int(np.argmax(spread[real:])))
    return chosen


def _middle(ends: np.ndarray) -> np.ndarray:
    """Between two groups per dimension, chosen so that their means lie apart as far as groups of their size can.

    Otsu 1979, "A threshold selection method from gray-level histograms": the largest variance between groups.
    """
    count = len(ends)
    if count < 2:
        return ends[0]
    ordered = np.sort(ends, axis=0)
    below = np.arange(1, count)[:, None]
    means = (
        np.cumsum(ordered, axis=0)[:-1] / below,
        np.cumsum(ordered[::-1], axis=0)[-2::-1] / (count - below),
    )
    cut = (below * (count - below) * (means[1] - means[0]) ** 2).argmax(axis=0)
    columns = np.arange(ends.shape[1])
    return (ordered[cut, columns] + ordered[cut + 1, columns]) / 2


def _panel(axes: Axes, fan: np.ndarray, times: np.ndarray, ways: np.ndarray | None, who: str) -> None:
    roles = [who] * len(fan) if ways is None else ["oneway" if way else "otherway" for way in ways]
    lines = [np.column_stack([times, path]) for path in fan]
    colors = [color(role) for role in roles]
    axes.add_collection(LineCollection(lines, colors=colors, linewidths=0.9, alpha=0.6))
    axes.scatter(
        np.full(len(fan), times[-1]), fan[:, -1], s=11, c=colors, linewidths=0, zorder=3, clip_on=False
    )
    axes.set_xlim(1, 0)
    axes.set_xticks([1, 0.5, 0], ["1", "0.5", "0"])
    axes.margins(y=0.08)
    axes.autoscale_view(scalex=False)
    axes.locator_params(axis="y", nbins=5)
    axes.grid(axis="y")
