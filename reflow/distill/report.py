"""What a training run leaves for its report: the arrays of its probes, words, and the figures in TensorBoard.

Left out: the page and the figures themselves (:mod:`reflow.reports`).
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger, TensorBoardLogger

from reflow.distill.callbacks import Measure
from reflow.reports import Content
from reflow.reports.figures import matplotlib_figures
from reflow.reports.folder import ARRAYS, Words, report_on, save_arrays, save_words


def keep_for_report(folder: Path, callbacks: Mapping[str, Any], words: Words) -> None:
    """Writes ``arrays.safetensors`` and ``report.json``, from which the report can be made at any time.

    Args:
        folder: of the run.
        callbacks: after the final measurement.
        words: of the report.

    Raises:
        UnwritableError: they cannot be written there.
    """
    measured = [callback.found.arrays for callback in callbacks.values() if isinstance(callback, Measure)]
    save_arrays(folder / ARRAYS, dict(ChainMap(*measured)))
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
