"""What a training run leaves for its report: arrays that its callbacks kept, words, and the figures in TensorBoard.

Left out: the page and the figures themselves (:mod:`reflow.reports`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger

from reflow.distill.callbacks import DeployGap, FlowOfOneObservation, PaddingStatistics
from reflow.reports import Content
from reflow.reports.figures import matplotlib_figures
from reflow.reports.folder import ARRAYS, Words, report_on, save_arrays, save_words

SAMPLES = 20_000
"""Values at most in a histogram array."""


def arrays_of(callbacks: Iterable[Any]) -> dict[str, np.ndarray]:
    """What measuring callbacks kept beside their figures; those left out leave their arrays out.

    Args:
        callbacks: of the run, after its final measurement.
    """
    arrays: dict[str, np.ndarray] = {}
    for callback in callbacks:
        if isinstance(callback, DeployGap) and callback.profile is not None:
            arrays["velocity_error/student"] = callback.profile.numpy()
        elif isinstance(callback, PaddingStatistics):
            for name, parts in getattr(callback, "histograms", {}).items():
                # The run draws one noise for both; what differs is that training's follows the padding rule.
                who_what = "student/noise" if name == "training/noise" else name
                for part, values in zip(("real", "padding"), parts, strict=True):
                    if values.numel():
                        arrays[f"histogram/{who_what}/{part}"] = _thinned(values.float().numpy())
        elif isinstance(callback, FlowOfOneObservation):
            arrays |= {name: values.float().numpy() for name, values in callback.arrays.items()}
    return arrays


def keep_for_report(folder: Path, callbacks: Mapping[str, Any], words: Words) -> None:
    """Writes ``arrays.safetensors`` and ``report.json``, from which the report can be made at any time.

    Args:
        folder: of the run.
        callbacks: after the final measurement.
        words: of the report.

    Raises:
        UnwritableError: they cannot be written there.
    """
    save_arrays(folder / ARRAYS, arrays_of(callbacks.values()))
    save_words(folder, words)


def report_run(folder: Path, loggers: Iterable[Logger] = (), step: int = 0) -> Content:
    """Writes ``report.html`` and ``figures/*.png``, and shows the same figures in TensorBoard.

    Args:
        folder: of a finished run.
        loggers: of the run; those that are not TensorBoard's are left alone.
        step: of training, for TensorBoard.

    Returns:
        What the report says.

    Raises:
        UnwritableError: a file cannot be written.
    """
    content = report_on(folder)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            for name, figure in matplotlib_figures(content).items():
                logger.experiment.add_figure(f"report/{name}", figure, step)
            logger.experiment.flush()
    return content


def _thinned(values: np.ndarray) -> np.ndarray:
    """At most `SAMPLES` of them; a stride would meet the same dimensions again and again."""
    if values.size <= SAMPLES:
        return values
    return np.random.default_rng(0).choice(values, SAMPLES, replace=False)
