"""Where integration ends, by number of velocity calls, with the floors beside it."""

from __future__ import annotations

from collections.abc import Mapping

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from reflow.reports.content import Content
from reflow.reports.figures.drawing import Drawing, by_steps, legend_above, new_figure, percent, who_color
from reflow.reports.theme import color

_TARGETS = {
    "endpoint_error": "against the teacher at its own steps",
    "endpoint_error_to_reference": "against the teacher at 100 steps",
}
_LABELS = {"student": "student", "teacher": "teacher, undistilled"}
_DENSE = 8  # more points than this and their figures would touch


def draw_endpoint_error(content: Content) -> Drawing | None:
    """Endpoint error of student and undistilled teacher, log over log."""
    metrics = content.metrics
    targets = [name for name in _TARGETS if by_steps(metrics, f"student/{name}")]
    if not targets:
        return None
    figure, grid = new_figure(3.5, 1, len(targets), sharey=True)
    for axes, name in zip(grid[0], targets, strict=True):
        _panel(axes, metrics, name)
        if len(targets) > 1:
            axes.set_title(_TARGETS[name])
    grid[0, 0].set_ylabel("endpoint error")
    if "teacher/solver_error" in metrics:
        for axes in grid[0]:
            axes.axhline(
                metrics["teacher/solver_error"],
                color=color("muted"),
                linestyle=(0, (5, 3)),
                linewidth=1.1,
                label=f"teacher's own solver error, {percent(metrics['teacher/solver_error'])}",
            )
    legend_above(grid[0, 0])
    student = by_steps(metrics, f"student/{targets[0]}")
    told = ", ".join(f"{percent(value)} at {n}" for n, value in student.items())
    return Drawing(
        figure,
        "Distance between chunks, relative to the teacher's; same observation, same noise, real dimensions.",
        "the student at the steps it was made for lies far below the undistilled teacher, near the dashed line: "
        "below it, the teacher itself is no better known.",
        f"Endpoint error of the student by steps: {told}.",
    )


def _panel(axes: Axes, metrics: Mapping[str, float], name: str) -> None:
    curves = {
        who: {n: value for n, value in by_steps(metrics, f"{who}/{name}").items() if value > 0}
        for who in _LABELS
    }
    for who, points in curves.items():
        if not points:
            continue
        axes.plot(
            list(points),
            list(points.values()),
            "o-",
            color=who_color(who),
            markersize=6,
            markeredgecolor=color("card"),
            label=_LABELS[who],
        )
        other = curves["teacher" if who == "student" else "student"]
        shown = set(points) if len(points) <= _DENSE else {min(points), max(points)}
        for n in sorted(shown):
            above = points[n] >= other.get(n, 0.0)
            axes.annotate(
                percent(points[n]),
                (n, points[n]),
                textcoords="offset points",
                xytext=(0, 8 if above else -15),
                ha="center",
                color=who_color(who),
                fontsize=8,
            )
    steps = sorted({n for points in curves.values() for n in points})
    axes.set(xscale="log", yscale="log", xlabel="integration steps")
    axes.set_xticks(steps, [str(n) for n in steps])
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g} %"))
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.margins(x=0.09, y=0.16)
    axes.grid(axis="y")
