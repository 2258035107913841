"""One log for one run, however often it was stopped: rows that it will write again are dropped when it goes on."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.loggers.csv_logs import ExperimentWriter

from reflow.files import replace_text

_STEP = "step"


class OneCSV(CSVLogger):
    """Lightning's, in one file that is whole or not there, and that a run which was stopped goes on with.

    Lightning's own begins another folder each time, or deletes what was there.

    Args:
        save_dir: of the run.
        name: of the folder in it.
        first_step: that this process does; rows from there on are of one that was killed later than its checkpoint.
    """

    def __init__(self, save_dir: str, name: str = "csv", first_step: int = 0, **keywords: Any) -> None:
        super().__init__(save_dir, name=name, version="", **keywords)
        self._first_step = first_step

    @property
    @rank_zero_experiment
    def experiment(self) -> _OneFile:
        if not isinstance(self._experiment, _OneFile):
            self._experiment = _OneFile(self.log_dir, self._first_step)
        return self._experiment


class _OneFile(ExperimentWriter):
    def __init__(self, log_dir: str, first_step: int) -> None:
        super().__init__(log_dir)
        self.rows: list[dict[str, Any]] = []
        file = Path(self.metrics_file_path)
        if file.is_file():
            with file.open(newline="") as lines:
                self.rows = [row for row in csv.DictReader(lines) if int(row[_STEP]) < first_step]

    def _check_log_dir_exists(self) -> None:
        """What is there stays."""

    def save(self) -> None:
        self.rows += self.metrics
        self.metrics = []
        if not self.rows:
            return
        written = io.StringIO(newline="")
        writer = csv.DictWriter(written, sorted(set().union(*self.rows)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        replace_text(Path(self.metrics_file_path), written.getvalue())
