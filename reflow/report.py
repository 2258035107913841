"""Runs or tasks side by side, or one run's page anew: ``python -m reflow.report runs='outputs/padding_ablation*'``.

``runs`` leaves ``comparison.{md,csv,png,html}`` in ``run_dir``, and ``evaluations`` ``tasks.{md,csv,png}``; ``run``
writes that folder's ``report.html`` and figures again. Nothing is measured.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from reflow.cli import command, plain
from reflow.config.evaluations import read_evaluations
from reflow.config.runs import find_runs, read_runs
from reflow.errors import UserError
from reflow.files import UnwritableError
from reflow.reports.compare import RunComparison, compare
from reflow.reports.comparison_page import write_comparison
from reflow.reports.equal_seconds import fewest_seconds, with_errors_after
from reflow.reports.folder import report_on
from reflow.reports.tasks_table import write_tasks
from reflow.schema import schema

UNFINISHED = ("error", "skip")
EQUAL = "equal"
REPORT = schema(
    runs=Any,
    run_dir=str,
    metrics=list[str] | None,
    unfinished=str,
    run=str | None,
    after=Any,
    evaluations=Any,
)


def report(config: DictConfig) -> RunComparison | None:
    """Compares runs, or writes one run's page again.

    Args:
        config: ``conf/report.yaml``, composed.

    Returns:
        The comparison of runs; None where a page was written, or tasks were added up.

    Raises:
        UserError: bad input; nothing is written then.
    """
    runs, evaluations = (plain(config)[key] for key in ("runs", "evaluations"))
    if sum(one is not None for one in (runs, evaluations, config.run)) != 1:
        raise UserError(
            f"runs={runs}, evaluations={evaluations} and run={config.run}; give one of them: "
            "runs=[outputs/a,outputs/b] or runs='outputs/padding_ablation*' compares runs, "
            "evaluations='outputs/tasks/*' adds up evaluations of one student on several tasks, "
            "run=outputs/demo writes that run's page again"
        )
    if config.run is not None:
        print(report_on(Path(config.run)).verdict.sentence)
        return None
    for name, asked in (("runs", runs), ("evaluations", evaluations)):
        if asked is not None and not (asked and isinstance(asked, str | list)):
            raise UserError(f"{name}={asked}; allowed: a list of folders, or a pattern in quotes")
    if evaluations is not None:
        _add_up(evaluations, Path(config.run_dir))
        return None
    return _compare(config, runs)


def _compare(config: DictConfig, runs: str | list[str]) -> RunComparison:
    if config.unfinished not in UNFINISHED:
        raise UserError(f"unfinished={config.unfinished}; allowed: {' or '.join(UNFINISHED)}")
    found = find_runs(runs, skip=config.unfinished == "skip")
    runs_there, after = read_runs(found.finished), config.after
    if after is not None:
        after = fewest_seconds(runs_there) if after == EQUAL else after
        if isinstance(after, bool) or not (isinstance(after, int | float) and after > 0):
            raise UserError(f"after={after}; allowed: seconds of training, or {EQUAL}")
        runs_there = with_errors_after(runs_there, after)
    comparison = compare(runs_there, config.metrics, found.notes, after=after)
    written = _written(write_comparison, comparison, Path(config.run_dir))
    for text in (*comparison.notes, *map(str, written)):
        print(text)
    return comparison


def _add_up(evaluations: str | list[str], folder: Path) -> None:
    tasks = read_evaluations(evaluations)
    written = _written(write_tasks, tasks, folder)
    for text in (*tasks.sentences(), *map(str, written)):
        print(text)


def _written[T](write: Callable[[T, Path], tuple[Path, ...]], found: T, folder: Path) -> tuple[Path, ...]:
    try:
        return write(found, folder)
    except UnwritableError as error:
        raise UserError(f"run_dir={folder}: {error} (run_dir=DIR)") from error


@command("report", REPORT, renamed={"output": "run_dir"})
def main(config: DictConfig) -> None:
    """Command-line entry."""
    report(config)


if __name__ == "__main__":
    main()
