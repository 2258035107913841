"""Finished evaluations as they lie in their folders, to be added up.

Left out: the sums (:mod:`reflow.reports.tasks`).
"""

from __future__ import annotations

import glob
from collections.abc import Sequence
from pathlib import Path

from reflow.config.saved import read_saved
from reflow.errors import UserError
from reflow.files import read_metrics
from reflow.reports.folder import CONFIGURATION, METRICS
from reflow.reports.tasks import Task, Tasks, add_up, task_of
from reflow.simulator.journal import IDENTITY, identity_in


def read_evaluations(asked: str | Sequence[str]) -> Tasks:
    """Evaluations by name or pattern, added up.

    Args:
        asked: a pattern or folder, or a list of them.

    Raises:
        UserError: nothing matches, a folder holds no finished evaluation in a simulator, or they are of other
            policies.
    """
    patterns = [asked] if isinstance(asked, str) else asked
    folders: dict[Path, Path] = {}
    for pattern in map(str, patterns):
        found = [Path(pattern)] if Path(pattern).is_dir() else map(Path, sorted(glob.glob(pattern)))
        there = {folder.resolve(): folder for folder in found if (folder / IDENTITY).is_file()}
        if not there:
            raise UserError(
                f"evaluations={pattern} matches no evaluation in a simulator (seen from {Path.cwd()}); give folders "
                "of python -m reflow.evaluate ... env=NAME, or a pattern in quotes (evaluations='outputs/tasks/*')"
            )
        folders |= there
    _check_policies(list(folders.values()))
    return add_up([_task(folder) for folder in folders.values()])


def _task(folder: Path) -> Task:
    if not (folder / METRICS).is_file():
        raise UserError(f"{folder} is not finished; give its command again, and it goes on")
    config = read_saved(folder, ("env", "margin"), "reflow.evaluate", "evaluations")
    env = config["env"]
    if not env:
        raise UserError(
            f"{folder}: its last evaluation played nowhere (env is null); give its command with env=NAME again"
        )
    figures = read_metrics(folder / METRICS)
    try:
        return task_of(str(env.get("task") or env["type"]), figures, float(config["margin"]))
    except UserError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UserError(
            f"{folder}: {CONFIGURATION} and {METRICS} are not as reflow.evaluate leaves them "
            f"({type(error).__name__}: {error}); leave it out of evaluations"
        ) from error


def _check_policies(folders: Sequence[Path]) -> None:
    one, *others = ((folder, identity_in(folder).get("policies", {})) for folder in folders)
    for folder, policies in others:
        if policies != one[1]:
            raise UserError(
                f"evaluations: {folder} is of other policies than {one[0]}; pairs of one student and teacher are "
                "added up"
            )
