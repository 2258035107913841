"""A comparison of runs as text: cells for people (GitHub table, page), raw numbers for programs (CSV).

Left out: deciding what is compared and what is best (:mod:`reflow.reports.compare`).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, isfinite, log10
from typing import Any

from reflow.reports.compare import RunComparison, Value
from reflow.reports.compared_metrics import SUCCESS, direction, is_percent

NOTHING = "–"  # noqa: RUF001  an en dash, for cells without a value
ARROWS = {"lower": " ↓", "higher": " ↑", None: ""}


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what is shown.
        best: of its column, among the rows of its teacher.
        number: whether it is one, to be set flush right.
    """

    text: str
    best: bool = False
    number: bool = False


def header(comparison: RunComparison) -> tuple[Cell, ...]:
    """Names of the columns: settings, number of seeds, metrics with unit and the direction that is better."""
    metrics = (
        Cell(f"{name}{' (%)' if is_percent(name) else ''}{ARROWS[direction(name)]}", number=True)
        for name in comparison.metrics
    )
    return (*map(Cell, comparison.keys), Cell("seeds", number=True), *metrics)


def body(comparison: RunComparison) -> tuple[tuple[Cell, ...], ...]:
    """The cells of each row, as in :func:`header`."""
    best = {metric: comparison.best(metric) for metric in comparison.metrics}
    return tuple(
        (
            *(Cell(setting_text(row.settings.get(key))) for key in comparison.keys),
            Cell(str(len(row.runs)), number=True),
            *(
                Cell(
                    value_text(metric, row.values.get(metric), len(row.runs)),
                    row in best[metric],
                    number=True,
                )
                for metric in comparison.metrics
            ),
        )
        for row in comparison.rows
    )


def value_text(metric: str, value: Value | None, seeds: int) -> str:
    """One metric of one row: mean ± sample standard deviation, or a success rate with its interval.

    Args:
        metric: its name, which decides between percent and four significant digits.
        value: None where no seed has it.
        seeds: of the row; a metric that only some have says so.
    """
    if value is None:
        return NOTHING
    scale = 100 if is_percent(metric) else 1
    if value.interval is not None:
        low, high = (scale * end for end in value.interval)
        text = f"{scale * value.mean:.1f} [{low:.1f}, {high:.1f}] of {value.episodes}"
    else:
        digits = 1 if SUCCESS.fullmatch(metric) else 2 if scale == 100 else None
        numbers = [value.mean] if value.spread is None else [value.mean, value.spread]
        text = " ± ".join(_numbers([scale * number for number in numbers], digits))
    return text if len(value.points) == seeds else f"{text} ({len(value.points)} of {seeds} seeds)"


def setting_text(value: Any) -> str:
    """One setting, as short as it can be."""
    if value is None:
        return NOTHING
    return f"{value:g}" if isinstance(value, float) else str(value)


def markdown(comparison: RunComparison) -> str:
    """A GitHub table; the best of each column and teacher is bold, notes stand below."""

    def line(cells: Sequence[Cell]) -> str:
        texts = (cell.text.replace("|", r"\|") for cell in cells)
        marked = (f"**{text}**" if cell.best else text for cell, text in zip(cells, texts, strict=True))
        return f"| {' | '.join(marked)} |"

    names = header(comparison)
    rule = "| " + " | ".join("---:" if cell.number else "---" for cell in names) + " |"
    lines = [line(names), rule, *map(line, body(comparison)), "", caption(comparison)]
    lines += [text for note in comparison.notes for text in ("", note)]
    return "\n".join(lines) + "\n"


def caption(comparison: RunComparison) -> str:
    """What the numbers of the table are."""
    shared = ", ".join(f"{key} {setting_text(value)}" for key, value in comparison.shared.items())
    several = (
        "Mean ± sample standard deviation over seeds. "
        if any(len(r.runs) > 1 for r in comparison.rows)
        else ""
    )
    place = ", within its teacher" if "teacher" in comparison.keys else ""
    bold = f"Bold: best of the column{place}. " if len(comparison.rows) > 1 else ""
    return f"{several}{bold}{f'All rows: {shared}.' if shared else ''}".strip()


def csv_text(comparison: RunComparison) -> str:
    """Raw numbers, one line per run; beside each success rate the number of its episodes."""
    settings = ["teacher", "fix", *(key for key in comparison.keys if key not in ("teacher", "fix"))]
    runs = [run for row in comparison.rows for run in row.runs]
    columns = []
    for metric in comparison.metrics:
        columns.append(metric)
        episodes = f"{metric}/episodes"
        if SUCCESS.fullmatch(metric) and any(episodes in run.metrics for run in runs):
            columns.append(episodes)
    columns = list(dict.fromkeys(columns))
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow([*settings, "seed", *columns, "run"])
    for run in runs:
        shown = [run.settings.get(key) for key in settings]
        writer.writerow([*shown, run.seed, *(run.metrics.get(name) for name in columns), run.name])
    return written.getvalue()


def _numbers(values: Sequence[float], decimals: int | None) -> list[str]:
    """Values to as many decimals; None: as gives the first one four significant digits."""
    first = values[0]
    if decimals is None and (not isfinite(first) or first == 0 or not 1e-4 <= abs(first) < 1e6):
        return [f"{value:.4g}" for value in values]
    places = max(0, 3 - floor(log10(abs(first)))) if decimals is None else decimals
    return [f"{value:.{places}f}" for value in values]
