"""Runs whose steps differ in cost at equal seconds of training: their last figures are at equal steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from reflow.errors import UserError
from reflow.reports.compare import Run
from reflow.reports.curves import Curve, name_after


def fewest_seconds(runs: Sequence[Run]) -> float:
    """Seconds of training, cut to whole ones, of the run that took the fewest.

    Raises:
        UserError: no run has a curve.
    """
    ends = [curve.seconds[-1] for run in runs for curve in run.curves.values()]
    if not ends:
        raise UserError(
            "after=equal: none of these runs logged endpoint errors while it trained; they come from the CSV logger "
            "(logger.csv) and validations before the end (trainer.val_check_interval)"
        )
    return float(int(min(ends)))


def with_errors_after(runs: Sequence[Run], seconds: float) -> list[Run]:
    """The runs, each with its errors after so many seconds of training among its metrics.

    Raises:
        UserError: no run has one at that time.
    """
    found = [replace(run, metrics={**run.metrics, **errors_after(run.curves, seconds)}) for run in runs]
    if all(run.metrics.keys() == new.metrics.keys() for run, new in zip(runs, found, strict=True)):
        raise UserError(
            f"after={seconds:g}: no run was measured before and after so many seconds of training"
        )
    return found


def errors_after(curves: Mapping[str, Curve], seconds: float) -> dict[str, float]:
    """``<metric> after <seconds> s`` of each curve that was measured before and after that."""
    values = {name_after(metric, seconds): curve.at(seconds) for metric, curve in curves.items()}
    return {name: value for name, value in values.items() if value is not None}
