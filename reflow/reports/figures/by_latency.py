"""What figures over the latency of a chunk share: a line style for each contender, and the scale."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from reflow.reports.figures.drawing import who_color
from reflow.reports.theme import color

_DASHES = ("solid", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
_MARKS = (1, 3)  # ticks of a decade


def styles(names: Sequence[str]) -> Mapping[str, dict[str, Any]]:
    """Colour by policy; of each, the more steps the more solid."""
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        before = sum(other.partition("@")[0] == name.partition("@")[0] for other in found)
        found[name] = {"color": who_color(name), "linestyle": _DASHES[before % len(_DASHES)]}
    return found


def waiting(late: Sequence[float]) -> float:
    """Where a world that waits stands, which no logarithm reaches."""
    return min(late, default=10.0) / 2.5


def columns_of(names: Sequence[str]) -> int:
    """Of a legend: names with a way are longer."""
    return 3 if any("-" in name for name in names) else 5


def scale(axes: Axes, late: Sequence[float], waits: float | None) -> None:
    """Latencies to the right, logarithmic.

    Args:
        axes: to be drawn on.
        late: all latencies above 0, ms.
        waits: where a world that waits stands; None where none does.
    """
    axes.set_xscale("log")
    decades = range(-3, 7)
    ticks = [mark * 10.0**decade for decade in decades for mark in _MARKS]
    low, high = min(late, default=10.0) / 1.3, max(late, default=10.0) * 1.3
    shown = [tick for tick in ticks if low <= tick <= high]
    places, labels = list(shown), [f"{tick:,g}" for tick in shown]
    if waits is not None:
        places, labels = [waits, *places], ["0", *labels]
        axes.axvline(waits * 1.5, color=color("line"), linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)
    axes.xaxis.set_major_locator(FixedLocator(places))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(places, labels)
    axes.set_xlim((waits or low) / 1.25, high)
    axes.grid()
