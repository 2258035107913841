"""A run folder and the report made of it: figures and arrays out of files, arrays and words into them.

``metrics.json`` and ``arrays.safetensors`` hold what was measured; ``report.json`` the words of the report that
cannot be told from those; ``config.yaml`` and ``videos/*.mp4`` are shown where they are. Success and latency are read
out of the metrics. Left out: how the page looks (``reflow.reports.page``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite, nan
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from reflow.errors import MissingFileError, UserError
from reflow.files import read_json, read_metrics, read_text, replace_file, write_json, write_metrics
from reflow.notices import warn
from reflow.reports.content import Content, Latency, SuccessRow
from reflow.reports.figures import write_figures
from reflow.reports.figures.drawing import contenders
from reflow.reports.page import write_report
from reflow.reports.verdict import verdict_of
from reflow.typed import typed

METRICS, ARRAYS, WORDS, CONFIGURATION = "metrics.json", "arrays.safetensors", "report.json", "config.yaml"
REPORT, FIGURES = "report.html", "figures"


@dataclass(frozen=True)
class Words:
    """What ``report.json`` holds.

    Attributes:
        title: of the page.
        num_steps: the student's own; None where that is not known.
        commands: that make this again.
        versions: of packages, by name.
        joint_names: of the real dimensions.
        comparisons: of simulator results, in sentences.
        machine: that measured, in a few words; empty where that was not noted.
    """

    title: str
    num_steps: int | None = None
    commands: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    joint_names: tuple[str, ...] = ()
    comparisons: tuple[str, ...] = ()
    machine: str = ""


def keep_metrics(folder: Path, metrics: Mapping[str, float]) -> None:
    """Writes ``metrics.json``, and warns of figures that are not finite; they are null there."""
    path = folder / METRICS
    if unknown := write_metrics(path, metrics):
        more = f" and {len(unknown) - 12} more" if len(unknown) > 12 else ""
        warn(
            f"{len(unknown)} figures are not finite, and null in {path}: {', '.join(unknown[:12])}{more}; look for "
            "values that are no numbers in the data (python -m reflow.diagnose) before this student is used"
        )


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes ``arrays.safetensors``.

    Args:
        path: of the file.
        arrays: of any shape; kept as float32.

    Raises:
        UnwritableError: it cannot be written there.
    """
    kept = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in arrays.items()}
    replace_file(path, lambda staged: save_file(kept, staged))


def load_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads ``arrays.safetensors``.

    Raises:
        UserError: it is damaged.
    """
    try:
        return load_file(path)
    except Exception as error:  # whatever its reader raises, it raises about this file
        why = f"{type(error).__name__}: {error}"
        raise UserError(
            f"{path} is damaged ({why}); delete it, and the report goes without its figures"
        ) from error


def save_words(folder: Path, words: Words) -> None:
    """Writes ``report.json``.

    Raises:
        UnwritableError: it cannot be written there.
    """
    write_json(folder / WORDS, asdict(words))


def load_words(folder: Path) -> Words:
    """Reads ``report.json``; without one, the folder's name is the title.

    Raises:
        UserError: the file is no such file.
    """
    path = folder / WORDS
    if not path.is_file():
        return Words(folder.resolve().name)
    try:
        return typed(Words, read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error}; delete it, and the report goes without") from error


def content_of_run(folder: Path) -> Content:
    """Everything a report says, out of a run folder or an evaluation's.

    Args:
        folder: with ``metrics.json``; all other files may be missing.

    Raises:
        MissingFileError: nothing was measured there.
        UserError: a file is damaged.
    """
    if not (folder / METRICS).is_file():
        raise MissingFileError(
            f"{folder} has no {METRICS}: it is the folder of no finished run or evaluation; give one of those"
        )
    metrics = read_metrics(folder / METRICS)
    words = load_words(folder)
    configuration = folder / CONFIGURATION
    return Content(
        title=words.title,
        verdict=verdict_of(metrics, words.num_steps),
        metrics=metrics,
        arrays=load_arrays(folder / ARRAYS) if (folder / ARRAYS).is_file() else {},
        success=success_rows(metrics),
        comparisons=words.comparisons,
        latency=latency_rows(metrics),
        videos=tuple(sorted((folder / "videos").glob("*.mp4"))),
        commands=words.commands,
        configuration=read_text(configuration) if configuration.is_file() else "",
        versions=words.versions,
        machine=words.machine,
        joint_names=words.joint_names,
    )


def report_on(folder: Path) -> Content:
    """Writes ``report.html`` and ``figures/*.png`` of a folder, out of what it holds.

    Args:
        folder: of a finished run or an evaluation.

    Returns:
        What the report says.

    Raises:
        FileNotFoundError, UserError: as `content_of_run`.
        UnwritableError: a file cannot be written there.
    """
    content = content_of_run(folder)
    try:
        write_report(content, folder / REPORT)
        write_figures(content, folder / FIGURES)
    except UserError:
        raise
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:  # figures that no run leaves
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise UserError(
            f"{folder / METRICS}, or {ARRAYS} beside it, holds figures that cannot be shown ({why}); copy both anew"
        ) from error
    return content


def success_rows(metrics: Mapping[str, float]) -> tuple[SuccessRow, ...]:
    """Rows out of ``success/<who>@n`` and what stands below it; teacher first, more steps first."""
    rows = []
    for who, n, key in _contenders(metrics, "success", ""):
        if f"{key}/episodes" in metrics:
            counts = (metrics[f"{key}/episodes"], metrics[f"{key}/episodes"] * metrics.get(key, nan))
            if not all(map(isfinite, counts)):
                continue
            episodes, successes = map(round, counts)
            more = (metrics.get(f"{key}/{name}", nan) for name in ("low", "high", "reward", "length"))
            rows.append(SuccessRow(who, n, episodes, successes, *more))
    return tuple(rows)


def latency_rows(metrics: Mapping[str, float]) -> tuple[Latency, ...]:
    """Rows out of ``latency/<who>@n/{prefix,velocity,total}_{p50,p95}``; teacher first, more steps first."""
    names = [f"{part}_{p}" for part in ("prefix", "velocity", "total") for p in ("p50", "p95")]
    return tuple(
        Latency(who, n, *(metrics.get(f"{key}/{name}", nan) for name in names))
        for who, n, key in _contenders(metrics, "latency", "/total_p50")
    )


def _contenders(metrics: Mapping[str, float], what: str, ending: str) -> Iterator[tuple[str, int, str]]:
    """Who, steps and ``<what>/<who>@<steps>`` of what was measured; teacher first, more steps first."""
    pattern = re.compile(rf"{what}/((?:teacher|student)@\d+){ending}$")
    for name in contenders(match[1] for key in metrics if (match := pattern.match(key))):
        who, _, steps = name.partition("@")
        yield who, int(steps), f"{what}/{name}"
