"""Several tasks side by side: a GitHub table, a CSV file, and a picture."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from matplotlib.figure import Figure

from reflow.files import replace_file, replace_text
from reflow.reports.comparison_table import NOTHING
from reflow.reports.figures.drawing import contenders, legend_above, new_figure, rows_of, who_color
from reflow.reports.tasks import Rate, Tasks
from reflow.reports.theme import color, drawing

DPI = 150
_SHIFT = 0.2  # of a row, between its contenders


def write_tasks(found: Tasks, folder: Path) -> tuple[Path, ...]:
    """Writes ``tasks.{md,csv,png}``.

    Args:
        found: one or more tasks.
        folder: made where it is not.

    Returns:
        The files.

    Raises:
        UnwritableError: the folder cannot be written.
    """
    figure = tasks_figure(found)
    return (
        replace_text(folder / "tasks.md", tasks_markdown(found)),
        replace_text(folder / "tasks.csv", tasks_csv(found)),
        replace_file(folder / "tasks.png", lambda path: figure.savefig(path, format="png", dpi=DPI)),
    )


def tasks_markdown(found: Tasks) -> str:
    """A GitHub table with a line per task, and what they say together below it."""
    names = _names(found)
    pair = f"{found.together.first} less {found.together.second}, points"
    head = ["task", "episodes of each", *names, pair]
    lines = [head, ["---", *["---:"] * (len(head) - 1)]]
    for task in (*found.tasks, found.together):
        cells = [_share(task.rates.get(name)) for name in names]
        paired = task.paired
        difference = f"{100 * paired.difference:+.1f} [{100 * paired.low:+.1f}, {100 * paired.high:+.1f}]"
        cells = [task.name, f"{paired.n:,}", *cells, difference]
        lines.append([f"**{cell}**" for cell in cells] if task is found.together else cells)
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    told = "Success in percent with its 95 % interval (Wilson); difference on the same starts (Tango)."
    return "\n\n".join((table, told, *found.sentences())) + "\n"


def tasks_csv(found: Tasks) -> str:
    """Counts, one line per task."""
    names = _names(found)
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    pairs = ("both", "only_first", "only_second", "neither")
    writer.writerow(
        ["task", *(f"{name}_{what}" for name in names for what in ("successes", "episodes")), *pairs]
    )
    for task in (*found.tasks, found.together):
        rates = [task.rates.get(name) for name in names]
        counts = [
            value for rate in rates for value in ((rate.successes, rate.episodes) if rate else (None, None))
        ]
        writer.writerow([task.name, *counts, *(getattr(task.paired, key) for key in pairs)])
    return written.getvalue()


def tasks_figure(found: Tasks) -> Figure:
    """Dots on Wilson intervals, a row per task, all contenders in it."""
    tasks, names = (*found.tasks, found.together), _names(found)
    with drawing():
        figure, grid = new_figure(0.9 + 0.34 * len(tasks))
        axes = grid[0, 0]
        rows_of(axes, [task.name for task in tasks])
        for number, name in enumerate(names):
            full = name in (found.together.first, found.together.second)
            style = {"color": who_color(name), "alpha": 1.0 if full else 0.45, "clip_on": False}
            shift = _SHIFT * (number - (len(names) - 1) / 2)
            axes.plot([], [], "o" if full else "s", markersize=4.5, label=name, **style)
            for row, task in enumerate(tasks):
                rate = task.rates.get(name)
                if rate is not None:
                    axes.plot(rate.interval, [row + shift] * 2, linewidth=1.4, **style)
                    marker = "o" if full else "s"
                    axes.plot([rate.share], [row + shift], marker, markersize=4.5, **style)
        axes.axhline(len(tasks) - 1.5, color=color("line"), linewidth=0.8)
        axes.set_xlim(0, 1)
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0 %", "25 %", "50 %", "75 %", "100 %"])
        legend_above(axes)
    return figure


def _names(found: Tasks) -> list[str]:
    return contenders({name for task in found.tasks for name in task.rates})


def _share(rate: Rate | None) -> str:
    if rate is None:
        return NOTHING
    low, high = rate.interval
    return f"{100 * rate.share:.1f} [{100 * low:.1f}, {100 * high:.1f}]"
