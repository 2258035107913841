"""Runs side by side, or one run's page anew: ``python -m reflow.report runs='outputs/padding_ablation*'``.

Hydra ends here. ``runs`` leaves ``comparison.{md,csv,png,html}`` in the output folder; ``run`` writes that folder's
``report.html`` and figures again. Nothing is measured.
"""

from __future__ import annotations

import glob
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError

from reflow.config import check_schema, padding_name
from reflow.config.run_folder import METRICS, RUN
from reflow.config_path import CONFIG_DIR
from reflow.files import UnwritableError
from reflow.reports.compare import Run, RunComparison, compare
from reflow.reports.comparison_page import write_comparison
from reflow.reports.folder import report_on

USER_ERRORS = (ValueError, OSError)
UNFINISHED = ("error", "skip")
CONFIG = "config.yaml"
EVALUATION = "evaluation"  # the folder beside the student that reflow.evaluate fills
EMBEDDED = "embedded"
# What changes no figure: where things lie, how data are read, what is shown, what is played afterwards. Padding is
# told by the name of its fix, the teacher by its own.
_NOT_COMPARED = (
    "run_dir",
    "name",
    "seed",
    "logger",
    "simulator",
    "padding",
    "teacher.path",
    "callbacks.progress",
    "callbacks.checkpoint",
    "data.num_workers",
    "data.prefetch_factor",
    "data.pin_memory",
    "data.preload",
)


@dataclass
class ReportSettings:
    """The whole of ``conf/report.yaml``."""

    runs: Any = None
    output: str = "outputs/comparison"
    metrics: list[str] | None = None
    unfinished: str = "error"
    run: str | None = None


@dataclass(frozen=True)
class FoundRuns:
    """Run folders: finished, and what was left out."""

    finished: tuple[Path, ...]
    notes: tuple[str, ...]


def report(config: DictConfig) -> RunComparison | None:
    """Compares runs, or writes one run's page again.

    Args:
        config: ``conf/report.yaml``, composed.

    Returns:
        The comparison; None where a page was written.

    Raises:
        ValueError, OSError: bad input; nothing is written then.
    """
    check_schema(config, ReportSettings)
    if (config.runs is None) == (config.run is None):
        raise ValueError(
            f"runs={config.runs} and run={config.run}; give one of them: runs=[outputs/a,outputs/b] or "
            "runs='outputs/padding_ablation*' compares runs, run=outputs/demo writes that run's page again"
        )
    if config.runs is not None and not (config.runs and isinstance(config.runs, str | ListConfig)):
        raise ValueError(f"runs={config.runs}; allowed: a list of run folders, or a pattern in quotes")
    if config.unfinished not in UNFINISHED:
        raise ValueError(f"unfinished={config.unfinished}; allowed: {' or '.join(UNFINISHED)}")
    if config.run is not None:
        print(report_on(Path(config.run)).verdict.sentence)
        return None
    found = find_runs(config.runs, skip=config.unfinished == "skip")
    comparison = compare(read_runs(found.finished), config.metrics, found.notes)
    try:
        written = write_comparison(comparison, Path(config.output))
    except UnwritableError as error:
        raise ValueError(f"output={config.output}: {error} (output=DIR)") from error
    for text in (*comparison.notes, *map(str, written)):
        print(text)
    return comparison


def find_runs(asked: Any, *, skip: bool) -> FoundRuns:
    """Run folders by name or pattern.

    Args:
        asked: a pattern or folder, or a list of them.
        skip: leave unfinished runs out.

    Raises:
        ValueError: Nothing matches, a folder that was named is no run, or a run is unfinished.
    """
    patterns = list(asked) if isinstance(asked, ListConfig) else [asked]
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
            raise ValueError(
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
        raise ValueError(
            f"unfinished ({METRICS} is missing): {names}; give the command that began them again, and it goes on "
            f"where it was stopped{out}"
        )
    notes = (f"Left out, for they are not finished: {names}.",) if unfinished else ()
    return FoundRuns(tuple(finished.values()), notes)


def read_runs(folders: Iterable[Path]) -> list[Run]:
    """Settings and metrics of finished runs.

    Raises:
        ValueError: A folder's files are not those of a training run.
    """
    folders = list(folders)
    configs = {folder: _read_config(folder) for folder in folders}
    teachers = teacher_names(
        {
            folder: (configs[folder].teacher.path, _read_json(folder / RUN).get("teacher_fingerprint"))
            for folder in folders
        }
    )
    runs = []
    for folder, config in configs.items():
        settings = dict(_flat(OmegaConf.to_container(config, resolve=True)))
        settings |= {"teacher": teachers[folder], "fix": padding_name(config)}
        runs.append(Run(str(folder), int(config.seed), settings, read_metrics(folder)))
    return runs


def read_metrics(folder: Path) -> dict[str, float]:
    """A run's metrics, with those of its evaluation: of success the evaluation's, of the rest the run's own."""
    own, evaluated = _read_json(folder / METRICS), {}
    if (folder / EVALUATION / METRICS).is_file():
        evaluated = _read_json(folder / EVALUATION / METRICS)
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
    short = {folder: _teacher_name(path) for folder, (path, _) in teachers.items()}
    unclear = _ambiguous(short, teachers)
    names = {
        folder: str(teachers[folder][0] or EMBEDDED) if name in unclear else name
        for folder, name in short.items()
    }
    unclear = _ambiguous(names, teachers)
    return {
        folder: f"{name} ({(teachers[folder][1] or '?')[:8]})" if name in unclear else name
        for folder, name in names.items()
    }


def _ambiguous(names: Mapping[Path, str], teachers: Mapping[Path, tuple[str | None, str | None]]) -> set[str]:
    """Names that stand for more than one fingerprint."""
    seen: dict[str, set[str | None]] = {}
    for folder, name in names.items():
        seen.setdefault(name, set()).add(teachers[folder][1])
    return {name for name, fingerprints in seen.items() if len(fingerprints) > 1}


def _teacher_name(path: str | None) -> str:
    parts = [part for part in Path(path).parts if part != "pretrained_model"] if path else []
    return parts[-1] if parts else EMBEDDED


def _read_config(folder: Path) -> DictConfig:
    path = folder / CONFIG
    try:
        config = OmegaConf.load(path)
        readable = isinstance(config, DictConfig) and {"padding", "teacher", "seed"} <= config.keys()
    except (OSError, YAMLError, OmegaConfBaseException) as error:
        why = " ".join(str(error).split())
        raise ValueError(f"{path} cannot be read ({why}); leave {folder} out of runs") from error
    if not readable or not isinstance(config, DictConfig):
        raise ValueError(f"{path} is no configuration of reflow.train; leave {folder} out of runs")
    return config


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path} is no JSON ({error}); leave {path.parent} out of runs") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds no names and values; leave {path.parent} out of runs")
    return content


def _flat(settings: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(settings, dict) or not settings:
        yield where, None if settings == {} else settings
        return
    for key, value in settings.items():
        path = f"{where}.{key}" if where else str(key)
        if path not in _NOT_COMPARED:
            yield from _flat(value, path)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="report")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    try:
        report(config)
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
