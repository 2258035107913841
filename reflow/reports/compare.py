"""Any set of runs side by side: what their settings differ in, and what came out, over seeds.

Runs that differ in nothing but the seed are one row: mean and sample standard deviation; successes are pooled.
Plain values in, plain values out. Left out: reading run folders (``reflow.report``), and showing the result
(:mod:`reflow.reports.comparison_table`, ``comparison_figure``, ``comparison_page``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from statistics import fmean, stdev
from typing import Any

from reflow.errors import UserError
from reflow.metrics import wilson_interval
from reflow.reports.compared_metrics import SUCCESS, beside_after, choose_metrics, direction
from reflow.reports.curves import Curve

FIXES = ("unfixed", "keep_target", "full_loss", "full_noise", "full32", "valid14")
METHOD = "method"
# Over the dimensions that the fix lets into the loss: two fixes report means over different things.
OF_ITS_FIX = ("train/loss", "deploy/gap_reported")


@dataclass(frozen=True)
class Run:
    """One finished run.

    Attributes:
        name: its folder, as it was given.
        seed: of its training.
        settings: flat, without the seed and without what changes no figure; ``teacher`` and ``fix`` among them.
        metrics: flat, as in ``metrics.json``.
        curves: of some metrics, how they went during training.
    """

    name: str
    seed: int
    settings: Mapping[str, Any]
    metrics: Mapping[str, float]
    curves: Mapping[str, Curve] = field(default_factory=dict)


@dataclass(frozen=True)
class Value:
    """One metric of one row.

    Attributes:
        points: of each seed that has it.
        mean: of the points; of a success rate, that of all episodes.
        spread: sample standard deviation of the points; None for a single one.
        interval: 95 % (Wilson) of a success rate over all episodes, 0 to 1; None for other metrics.
        episodes: behind a success rate; 0 where unknown, and for other metrics.
    """

    points: tuple[float, ...]
    mean: float
    spread: float | None = None
    interval: tuple[float, float] | None = None
    episodes: int = 0


@dataclass(frozen=True)
class Row:
    """Runs that differ in their seed only.

    Attributes:
        settings: which they share.
        runs: by seed.
        values: of the metrics asked for; those that no run has are absent.
    """

    settings: Mapping[str, Any]
    runs: tuple[Run, ...]
    values: Mapping[str, Value]


@dataclass(frozen=True)
class RunComparison:
    """Rows to be read side by side.

    Attributes:
        keys: of the settings that differ between rows, ``teacher`` and ``fix`` first.
        shared: teacher and fix, where all rows have the same.
        metrics: names, in order.
        rows: sorted by ``keys``.
        notes: what a reader should know, in sentences.
    """

    keys: tuple[str, ...]
    shared: Mapping[str, Any]
    metrics: tuple[str, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def best(self, metric: str) -> tuple[Row, ...]:
        """The rows with the best mean, of each teacher that has at least two.

        Nothing is best where no direction is better, nor where the metric means another thing in each row.
        """
        better = direction(metric)
        if better is None or (metric in OF_ITS_FIX and "fix" in self.keys):
            return ()
        found: list[Row] = []
        for teacher in dict.fromkeys(row.settings.get("teacher") for row in self.rows):
            rivals = [
                row
                for row in self.rows
                if row.settings.get("teacher") == teacher
                and metric in row.values
                and isfinite(row.values[metric].mean)
            ]
            if len(rivals) > 1:
                goal = (max if better == "higher" else min)(row.values[metric].mean for row in rivals)
                found += [row for row in rivals if row.values[metric].mean == goal]
        return tuple(found)


def compare(
    runs: Iterable[Run],
    metrics: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    *,
    after: float | None = None,
) -> RunComparison:
    """Folds runs into rows and finds what the rows differ in.

    Args:
        runs: one or more. The second of two runs of the same settings and seed is left out, with a note.
        metrics: which to show; None for the default ones and every success rate of the student.
        notes: said before, to be shown with the rest.
        after: seconds of training; beside a metric stands what it was then, where the runs have that
            (:func:`reflow.reports.equal_seconds.with_errors_after`).

    Returns:
        The rows, sorted: teacher, fix, then the other settings that differ.

    Raises:
        UserError: No run, or no run has one of ``metrics``.
    """
    grouped: dict[str, list[Run]] = {}
    said = list(notes)
    for run in runs:
        # A run from before a key was there is one where it is null.
        given = {key: value for key, value in run.settings.items() if value is not None}
        group = grouped.setdefault(json.dumps(given, sort_keys=True, default=str), [])
        twin = next((other for other in group if other.seed == run.seed), None)
        if twin is None:
            group.append(run)
        else:
            said.append(f"{run.name} is left out: the settings and the seed ({run.seed}) of {twin.name}.")
    if not grouped:
        raise UserError("runs is empty; give at least one finished run folder (runs=[outputs/demo])")
    groups = [sorted(group, key=lambda run: run.seed) for group in grouped.values()]
    shown = choose_metrics([run.metrics for group in groups for run in group], metrics)
    if after is not None:
        shown = beside_after(shown, [run.metrics for group in groups for run in group], after)
    keys = _differing([group[0].settings for group in groups])
    rows = [Row(group[0].settings, tuple(group), _values(group, shown)) for group in groups]
    rows.sort(key=lambda row: [_sort_key(key, row.settings.get(key)) for key in keys])
    first = rows[0].settings
    shared = {key: first[key] for key in ("teacher", "fix") if key in first and key not in keys}
    if len(rows) == 1:  # nothing differs, and a row wants a name
        keys, shared = tuple(shared), {}
    if "fix" in keys and any(metric in OF_ITS_FIX for metric in shown):
        names = " and ".join(metric for metric in shown if metric in OF_ITS_FIX)
        said.append(
            f"{names}: over the dimensions that each fix lets into the loss, so no row is best there; "
            "deploy/loss is over the real dimensions for all."
        )
    if any(value.interval for row in rows if len(row.runs) > 1 for value in row.values.values()):
        said.append(
            "Success: all seeds' episodes together, with their 95 % interval (Wilson). Seeds play the same "
            "starts, so the interval does not hold what another set of seeds would change."
        )
    return RunComparison(keys, shared, shown, tuple(rows), tuple(said))


def _values(runs: Sequence[Run], metrics: Sequence[str]) -> dict[str, Value]:
    there = {name: [run.metrics for run in runs if name in run.metrics] for name in metrics}
    return {name: _value(name, found) for name, found in there.items() if found}


def _value(name: str, found: Sequence[Mapping[str, float]]) -> Value:
    points = tuple(metrics[name] for metrics in found)
    spread = None if len(points) == 1 else stdev(points) if all(map(isfinite, points)) else float("nan")
    counts = [round(metrics.get(f"{name}/episodes", 0)) for metrics in found]
    if not (SUCCESS.fullmatch(name) and all(counts)):
        return Value(points, fmean(points), spread)
    successes = sum(round(rate * count) for rate, count in zip(points, counts, strict=True))
    total = sum(counts)
    return Value(points, successes / total, spread, wilson_interval(successes, total), total)


def _differing(settings: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    keys = sorted(
        {key for one in settings for key in one},
        key=lambda key: (key != "teacher", key != "fix", key != METHOD, key),
    )
    keys = [key for key in keys if any(one.get(key) != settings[0].get(key) for one in settings)]
    return tuple(key for key in keys if not _told_by_method(key, settings))


def _told_by_method(key: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a setting is a part of what the rows' methods are: the same in all rows of one."""
    if key == METHOD or any(one.get(METHOD) is None for one in settings):
        return False
    told: dict[Any, Any] = {}
    return all(told.setdefault(one[METHOD], one.get(key)) == one.get(key) for one in settings)


def _sort_key(key: str, value: Any) -> tuple[int, float, str]:
    if key == "fix":
        return _fix_order(str(value)), 0.0, str(value)
    if isinstance(value, int | float):
        return 0, float(value), ""
    return (1, 0.0, str(value)) if value is not None else (-1, 0.0, "")


def _fix_order(name: str) -> int:
    """Unfixed, the single ones, pairs of them, then full32 and valid14; others last."""
    parts = name.split("+")
    if len(parts) > 1:
        places = sorted(FIXES.index(part) if part in FIXES else 9 for part in parts)
        return 100 + sum(place * 10**power for power, place in enumerate(reversed(places)))
    order = {fix: place if place < 4 else 10_000 + place for place, fix in enumerate(FIXES)}
    return order.get(name, 100_000)
