"""The figures that a run logged while it trained, out of the CSV files in its folder."""

from __future__ import annotations

import csv
from pathlib import Path

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
    """
    found: dict[str, dict[int, tuple[float, float]]] = {}
    for path in sorted(folder.glob(LOGS), key=lambda path: path.stat().st_mtime):
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if not row.get(_SECONDS):
                    continue
                for metric, value in row.items():
                    if value and has_curve(metric):
                        steps = int(row[_STEP]) + 1
                        found.setdefault(metric, {})[steps] = float(row[_SECONDS]), float(value)
    return {metric: _curve(points) for metric, points in found.items()}


def _curve(points: dict[int, tuple[float, float]]) -> Curve:
    steps = sorted(points)
    seconds, values = zip(*(points[step] for step in steps), strict=True)
    return Curve(tuple(steps), seconds, values)
