"""Velocity error by time and dimension, and by time and chunk step."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure

from reflow.reports.content import Content
from reflow.reports.dimensions import Dimensions, dimensions_of
from reflow.reports.figures.drawing import WIDTH, Drawing, rows_of, short
from reflow.reports.theme import color, heat_colors

_SPREAD = 60.0  # largest over smallest error from which equal steps of colour would hide the small ones
_READING = "Mean squared error of the student's velocity on held-out observations, as deployed"
_GOOD = "nothing stands out, no joint and no time"


def draw_velocity_error(content: Content) -> Drawing | None:
    """Heat maps; a row of bars where the student was measured at one time only."""
    error = content.arrays.get("velocity_error/student")
    if error is None or not np.isfinite(error).any():
        return None
    dimensions = dimensions_of(content, error.shape[1])
    rows = np.flatnonzero(np.isfinite(error).any(axis=1))
    if len(rows) == 1:
        return _bars(error[rows[0]], int(rows[0]), len(error), dimensions)
    return _maps(content, error, dimensions)


def _bars(error: np.ndarray, row: int, bins: int, dimensions: Dimensions) -> Drawing:
    figure = Figure(figsize=(WIDTH, 0.9 + 0.185 * dimensions.native))
    axes = figure.subplots()
    places = np.arange(dimensions.native)
    real = dimensions.native if dimensions.real is None else dimensions.real
    for part, role, chosen in (("real", "student", places < real), ("padding", "padding", places >= real)):
        if chosen.any():
            axes.barh(places[chosen], error[chosen], height=0.66, color=color(role), label=part)
    rows_of(axes, dimensions.names)
    _border(axes, dimensions)
    axes.set(xlabel="squared velocity error")
    axes.margins(x=0.02)
    if real < dimensions.native:
        axes.legend(loc="lower right")
    worst = int(np.nanargmax(error[:real]))
    when = f"{row / bins:g} to {(row + 1) / bins:g}"
    return Drawing(
        figure,
        f"{_READING}, by dimension, at the times this student is asked at (t from {when}, 1 is noise).",
        "short bars of like length on the real dimensions; padding matters only as far as it reaches them.",
        f"Squared velocity error by dimension; largest at {dimensions.names[worst]}, {short(float(error[worst]))}.",
    )


def _maps(content: Content, error: np.ndarray, dimensions: Dimensions) -> Drawing:
    panels = [("student", error, True)]
    floor = content.arrays.get("velocity_error/floor")
    if floor is not None and floor.shape == error.shape and np.isfinite(floor).any():
        panels.append(("floor: cannot be less", floor, True))
    by_step = content.arrays.get("velocity_error_by_step/student")
    if by_step is not None and np.isfinite(by_step).any():
        panels.append(("student, by chunk step", by_step, False))
    shown = [values[np.isfinite(values)] for _, values, _ in panels]
    norm = _norm(np.concatenate(shown))
    figure = Figure(figsize=(WIDTH, 1.2 + 0.165 * dimensions.native))
    grid = figure.subplots(1, len(panels), squeeze=False)[0]
    for number, (axes, (title, values, by_dimension)) in enumerate(zip(grid, panels, strict=True)):
        bins, width = values.shape
        mesh = axes.pcolormesh(
            np.linspace(0, 1, bins + 1),
            np.arange(width + 1) - 0.5,
            np.ma.masked_invalid(values.T),
            cmap=heat_colors(),
            norm=norm,
            gid=f"heat-{number}",
        )
        axes.set(title=title, xlabel="t: 1 noise, 0 action", xlim=(1, 0))
        axes.set_xticks([1, 0.5, 0], ["1", "0.5", "0"])
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        axes.set_ylim(width - 0.5, -0.5)
        if by_dimension:
            axes.set_yticks(range(width), dimensions.names if number == 0 else [])
            _border(axes, dimensions)
        else:
            axes.set_ylabel("chunk step (real dimensions)")
    bar = figure.colorbar(mesh, ax=list(grid), aspect=40, pad=0.02, location="bottom")
    bar.outline.set_visible(False)
    if bar.solids is not None:
        bar.solids.set_gid("bar-heat")
    low, high = norm.vmin or 0.0, norm.vmax or 1.0
    middle = float(np.sqrt(low * high)) if isinstance(norm, LogNorm) else (low + high) / 2
    bar.set_ticks([low, middle, high], labels=[short(value) for value in (low, middle, high)])
    bar.ax.minorticks_off()
    bar.ax.tick_params(length=0)
    where = np.unravel_index(np.nanargmax(error), error.shape)
    return Drawing(
        figure,
        f"{_READING}, by time and dimension; below the line is padding.",
        f"{_GOOD}, and like its floor where that is shown: the floor is what several noises through one point leave "
        "undecided."
        if len(panels) > 1 and panels[1][1] is floor
        else f"{_GOOD}.",
        f"Squared velocity error by time and dimension, largest {short(float(np.nanmax(error)))} at "
        f"{dimensions.names[where[1]]}.",
    )


def _norm(values: np.ndarray) -> Normalize:
    high = float(values.max()) or 1.0
    positive = values[values > 0]
    if positive.size and high / positive.min() > _SPREAD:
        return LogNorm(max(float(positive.min()), high / 1e4), high, clip=True)
    return Normalize(0.0, high)


def _border(axes: Axes, dimensions: Dimensions) -> None:
    """The line below which dimensions are padding, and their names pale."""
    if dimensions.real is None or dimensions.real >= dimensions.native:
        return
    place = dimensions.real - 0.5
    axes.axhline(place, color=color("padding"), linewidth=1.4)
    for label in axes.get_yticklabels()[dimensions.real :]:
        label.set_color(color("padding"))
