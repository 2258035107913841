"""Trackio beside TensorBoard: figures in a local database, which ``trackio show`` makes pages of.

No account and no network are needed. Lightning has no logger for it. Left out: pictures, and what trackio watches by
itself (processor, GPU).
"""

from __future__ import annotations

import contextlib
from argparse import Namespace
from collections.abc import Iterator, Mapping
from typing import Any

from huggingface_hub import constants
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment
from lightning.pytorch.utilities import rank_zero_only

from reflow.quiet import unprinted


class TrackioLogger(Logger):
    """Logs to trackio; a run that was stopped goes on with the same run there.

    Steps that it does again are the same figures once more (a run that goes on is the uninterrupted one), and are not
    written twice.

    Args:
        project: of trackio.
        name: of the run; with the beginning of ``id``, for trackio tells runs by their names.
        id: what tells the run from any other; None where it has none.
        space_id: of a Space on the Hugging Face hub to log to; None logs here, and asks nobody.
        group: of runs, on trackio's pages.
    """

    def __init__(
        self,
        project: str,
        name: str,
        id: str | None = None,
        space_id: str | None = None,
        group: str | None = None,
    ) -> None:
        super().__init__()
        self._project, self._id = project, id
        self._run_name = f"{name}-{id[:8]}" if id else name
        self._space_id, self._group = space_id, group
        self._config: dict[str, Any] = {}
        self._run: Any = None
        self._there: set[tuple[int, str]] = set()

    @property
    def name(self) -> str:
        """Of the run, as trackio shows it."""
        return self._run_name

    @property
    def version(self) -> str | None:
        """What tells the run from any other."""
        return self._id

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """Trackio's run."""
        if self._run is None:
            import trackio

            with unprinted(), contextlib.nullcontext() if self._space_id else _asking_nobody():
                self._run = trackio.init(
                    project=self._project,
                    name=self._run_name,
                    group=self._group,
                    space_id=self._space_id,
                    config=self._config,
                    resume="allow",
                    embed=False,
                    auto_log_gpu=False,
                    auto_log_cpu=False,
                )
                self._there = set(_logged(self._project, self._run_name, self._run.id))
        return self._run

    @rank_zero_only
    def log_hyperparams(self, params: dict[str, Any] | Namespace, *_: Any, **__: Any) -> None:
        """Keeps them for the run's page; trackio takes them when the run begins."""
        said = vars(params) if isinstance(params, Namespace) else params
        self._config |= {str(name): value for name, value in said.items() if not str(name).startswith("_")}

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Logs what is not there already."""
        if isinstance(self.experiment, DummyExperiment):
            return
        at = 0 if step is None else step
        fresh = {name: value for name, value in metrics.items() if (at, name) not in self._there}
        if fresh:
            self.experiment.log(fresh, step=at)

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Waits until all of it is written."""
        if self._run is not None:
            import trackio

            with unprinted():
                trackio.finish()  # the one run of this process
            self._run = None


def _logged(project: str, name: str, run_id: str) -> Iterator[tuple[int, str]]:
    """Step and name of every figure of a run that is in the database here."""
    from trackio.sqlite_storage import SQLiteStorage

    for row in SQLiteStorage.get_logs(project, name, run_id=run_id):
        yield from ((int(row["step"]), str(key)) for key in row if key not in ("step", "timestamp"))


@contextlib.contextmanager
def _asking_nobody() -> Iterator[None]:
    """In here the hub is not asked: trackio would for the user's name, where there is a token."""
    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
