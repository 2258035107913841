"""Runs as they lie in their folders, for comparing: found by name or pattern, their settings and metrics.

Left out: the comparison itself (:mod:`reflow.reports.compare`).
"""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflow.config.curves import read_curves
from reflow.config.naming import padding_name
from reflow.config.run_folder import NOT_COMPARED, RUN
from reflow.config.saved import read_saved
from reflow.errors import UserError
from reflow.files import NotJSONError, metrics_in, read_json
from reflow.reports.compare import Run
from reflow.reports.folder import CONFIGURATION, METRICS

EVALUATION = "evaluation"  # the folder beside the student that reflow.evaluate fills
EMBEDDED = "embedded"
# Padding is told by the name of its fix, the teacher by its own, the seed by the runs of a row.
_TOLD_OTHERWISE = frozenset({"seed", "padding"})
# Of the data a place is all that is known here.
_NOT_SHOWN = (NOT_COMPARED - {"data.root", "method"}) | _TOLD_OTHERWISE


@dataclass(frozen=True)
class FoundRuns:
    """Run folders: finished, and what was left out."""

    finished: tuple[Path, ...]
    notes: tuple[str, ...]


def find_runs(asked: str | Sequence[str], *, skip: bool) -> FoundRuns:
    """Run folders by name or pattern.

    Args:
        asked: a pattern or folder, or a list of them.
        skip: leave unfinished runs out.

    Raises:
        UserError: Nothing matches, a folder that was named is no run, or a run is unfinished.
    """
    patterns = [asked] if isinstance(asked, str) else asked
    finished: dict[Path, Path] = {}
    unfinished: list[Path] = []
    for pattern in map(str, patterns):
        folders = [Path(match) for match in sorted(glob.glob(pattern)) if Path(match).is_dir()]
        # A folder's own name may hold what a pattern would read otherwise.
        folders = [Path(pattern)] if Path(pattern).is_dir() else folders
        runs = [folder for folder in folders if (folder / RUN).is_file()]
        if not runs:
            there = ", ".join(map(str, folders[:5]))
            what = f"{there}: no {RUN} in there" if there else "no such folder"
            raise UserError(
                f"runs={pattern} matches no run of reflow.train ({what}, seen from {Path.cwd()}); give run folders "
                "(runs=[outputs/a,outputs/b]) or a pattern in quotes (runs='outputs/padding_ablation*')"
            )
        for folder in runs:
            if (folder / METRICS).is_file():
                finished.setdefault(folder.resolve(), folder)
            elif folder not in unfinished:
                unfinished.append(folder)
    names = ", ".join(map(str, unfinished))
    if unfinished and (not skip or not finished):
        out = "" if skip else ", or leave such runs out with unfinished=skip"
        raise UserError(
            f"unfinished ({METRICS} is missing): {names}; give the command that began them again, and it goes on "
            f"where it was stopped{out}"
        )
    notes = (f"Left out, for they are not finished: {names}.",) if unfinished else ()
    return FoundRuns(tuple(finished.values()), notes)


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Settings and metrics of finished runs.

    Raises:
        UserError: A folder's files are not those of a training run.
    """
    folders = list(folders)
    needed = ("padding", "teacher", "seed")
    configs = {folder: read_saved(folder, needed, "reflow.train", "runs") for folder in folders}
    fixes = {folder: _fix_of(folder, config) for folder, config in configs.items()}
    teachers = teacher_names(
        {folder: (configs[folder]["teacher"]["path"], _fingerprint(folder)) for folder in folders}
    )
    runs = []
    for folder, config in configs.items():
        settings = dict(_flat(config))
        settings |= {"teacher": teachers[folder], "fix": fixes[folder]}
        runs.append(
            Run(str(folder), int(config["seed"]), settings, read_metrics(folder), read_curves(folder))
        )
    return runs


def read_metrics(folder: Path) -> dict[str, float]:
    """A run's metrics, with those of its evaluation: of success the evaluation's, of the rest the run's own."""
    own, evaluated = _figures(folder / METRICS), {}
    if (folder / EVALUATION / METRICS).is_file():
        evaluated = _figures(folder / EVALUATION / METRICS)
    rates = {name: value for name, value in evaluated.items() if name.startswith("success/")}
    return evaluated | own | rates


def teacher_names(teachers: Mapping[Path, tuple[str | None, str | None]]) -> dict[Path, str]:
    """A short name of each run's teacher.

    Args:
        teachers: by run folder, ``teacher.path`` and the fingerprint of its files.

    Returns:
        ``embedded`` for null, else the last part of the path that says something; two teachers of one such name
        are told apart by their paths, or else by the beginning of the fingerprint.
    """

    def unclear(names: Mapping[Path, str]) -> set[str]:
        told = {(name, teachers[folder][1]) for folder, name in names.items()}
        return {name for name, _ in told if sum(name == other for other, _ in told) > 1}

    names = {folder: _teacher_name(path) for folder, (path, _) in teachers.items()}
    for longer in (
        lambda folder, _: str(teachers[folder][0] or EMBEDDED),
        lambda folder, name: f"{name} ({(teachers[folder][1] or '?')[:8]})",
    ):
        twice = unclear(names)
        names = {folder: longer(folder, name) if name in twice else name for folder, name in names.items()}
    return names


def _fingerprint(folder: Path) -> str | None:
    found = _read(folder / RUN).get("teacher_fingerprint")
    return found if isinstance(found, str) else None


def _fix_of(folder: Path, config: Mapping[str, Any]) -> str:
    """The fix, once teacher, seed and padding are seen to be what they are in a run's configuration."""
    teacher, seed, padding = (config[key] for key in ("teacher", "seed", "padding"))
    path = teacher.get("path", 0) if isinstance(teacher, dict) else teacher
    answers = [padding.get(key) for key in ("noise", "target", "loss")] if isinstance(padding, dict) else []
    known = (path is None or isinstance(path, str)) and type(seed) is int and answers and "inert" in padding
    if not known or not all(isinstance(answer, str) for answer in answers):
        raise UserError(
            f"{folder / CONFIGURATION}: teacher.path={path}, seed={seed} and padding={padding} are none of "
            "reflow.train's; leave the run out of runs"
        )
    return padding_name(config)


def _teacher_name(path: str | None) -> str:
    parts = [part for part in Path(path).parts if part != "pretrained_model"] if path else []
    return parts[-1] if parts else EMBEDDED


def _figures(path: Path) -> dict[str, float]:
    try:
        return metrics_in(_read(path), path)
    except NotJSONError as error:
        raise UserError(f"{error}; or leave {path.parent} out of runs") from error


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except UserError as error:
        raise UserError(f"{error}; or leave {path.parent} out of runs") from error
    if not isinstance(content, dict):
        raise UserError(f"{path} holds no names and values; leave {path.parent} out of runs")
    return content


def _flat(settings: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(settings, dict) or not settings:
        yield where, None if settings == {} else settings
        return
    for key, value in settings.items():
        path = f"{where}.{key}" if where else str(key)
        if path not in _NOT_SHOWN:
            yield from _flat(value, path)
