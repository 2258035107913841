"""How alike the distributions of chunks are, each distance beside what two draws of the teacher differ by."""

from __future__ import annotations

from reflow.reports.content import Content
from reflow.reports.figures.drawing import Drawing, by_steps, panels, rows_of, short, steps_of, write
from reflow.reports.theme import color

_NAMES = {  # distances, then ratios
    "sliced_wasserstein": "sliced Wasserstein",
    "energy": "energy distance",
    "mmd": "MMD",
    "variance_ratio": "variance ratio",
    "mode_coverage": "modes covered",
    "mode_evenness": "evenness of modes",
}


def draw_distribution(content: Content) -> Drawing | None:
    """Distances and ratios, one panel each, with the null as a mark."""
    metrics = content.metrics
    shown = {name: values for name in _NAMES if (values := by_steps(metrics, f"distribution/{name}"))}
    if not shown:
        return None
    steps = sorted({n for values in shown.values() for n in values})
    figure, grid = panels(len(shown), 1.0 + 0.26 * (len(steps) + 1))
    for axes, (name, values) in zip(grid, shown.items(), strict=True):
        null = metrics.get(f"distribution/{name}_null")
        rows_of(axes, [*(f"student, {steps_of(n)}" for n in steps), "teacher again"])
        axes.grid(visible=False)
        marks = [(steps.index(n), value, "student") for n, value in values.items()]
        if null is not None:
            axes.axvline(null, color=color("teacher"), linewidth=1.1, linestyle=(0, (5, 3)))
            marks.append((len(steps), null, "teacher"))
        for place, value, role in marks:
            axes.plot([0, value], [place, place], color=color(role), linewidth=2.2, alpha=0.45)
            axes.plot([value], [place], "o", color=color(role), markersize=6)
            clear = max(value, value if null is None else null)  # of the dashed line
            write(axes, short(value), (clear, place), 7, 8)
        reach = [value for _, value, _ in marks]
        axes.set_xlim(min(0.0, 1.4 * min(reach)), 1.4 * max(*reach, 1e-9))
        axes.set_xticks([0], ["0"])
        axes.set_title(_NAMES[name])
    told = "; ".join(
        f"{_NAMES[name]} {', '.join(f'{short(value)} at {n}' for n, value in values.items())}"
        for name, values in shown.items()
    )
    return Drawing(
        figure,
        "Many noises on one observation: the cloud of the student's chunks against the teacher's, averaged over "
        "observations; dashed is another draw of the teacher against itself.",
        "distances at the dashed line, ratios at 1: then nobody could tell the two clouds apart.",
        f"Distribution: {told}.",
    )
