"""The figures that a run logged while it trained, out of the CSV files in its folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path

from reflow.errors import UserError
from reflow.files import read_text
from reflow.reports.curves import Curve, has_curve

LOGS = (
    "csv/**/metrics.csv"  # conf/logger/default.yaml has one; older runs one more for every time they went on
)
_STEP, _SECONDS = "step", "throughput/seconds"


def read_curves(folder: Path) -> dict[str, Curve]:
    """By metric, what the validations of a run found; nothing where it has no CSV log.

    A run that was stopped and went on logged some steps twice: the later ones stand.

    Args:
        folder: of the run.

    Raises:
        UserError: a log is damaged.
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in sorted(folder.glob(LOGS), key=lambda path: path.stat().st_mtime):
        try:
            for metric, steps, seconds, value in _points(read_text(path)):
                found.setdefault(metric, {})[steps] = seconds, value
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise UserError(
                f"{path} is no log of a run ({error}); move it away, and its curves are left out"
            ) from error
    return {metric: _curve(points) for metric, points in found.items()}


def _points(text: str) -> Iterator[tuple[str, int, float, float]]:
    for row in csv.DictReader(io.StringIO(text, newline="")):
        if not row.get(_SECONDS):
            continue
        for metric, value in row.items():
            if value and metric and has_curve(metric):
                yield metric, int(row[_STEP]) + 1, float(row[_SECONDS]), float(value)


def _curve(points: dict[int, tuple[float, float]]) -> Curve:
    steps = sorted(points)
    seconds, values = zip(*(points[step] for step in steps), strict=True)
    return Curve(tuple(steps), seconds, values)
