"""What a person sees while it runs: pairs per second, how long it waits for data, time left, the loss."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from reflow.data import SAMPLE
from reflow.distill.callbacks.base import Measurement
from reflow.distill.module import Distillation


class Throughput(Measurement):
    """Logs how fast a run is, and whether it waits for its data.

    ``throughput/pairs_per_second``: (noise, action) pairs made and learned from per second; data loading is included,
    validation is not. ``throughput/data_wait``: share of that time between the end of a step and the start of the
    next, in which batches are read. Where it is more than a few percent, workers (``data.num_workers``), frames kept
    in memory (``data.preload``) or a cache with vision features (``python -m reflow.pairs store=vision``) help. The
    first steps, in which caches warm up, do not count. ``throughput/seconds``: so long the others took, over all
    processes that a run was stopped and gone on in.

    Args:
        skip: first steps of this process that do not count.
    """

    def __init__(self, skip: int = 5) -> None:
        self.skip = skip
        self.pairs, self.seconds, self.waited, self._seen = 0, 0.0, 0.0, 0
        self._since: float | None = None
        self._wait = 0.0

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self._since is not None:
            self._wait = time.perf_counter() - self._since

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Distillation, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._seen += 1
        if self._since is not None and self._seen > self.skip:
            self.pairs += len(batch[SAMPLE]) * pl_module.objective.draws * trainer.world_size
            self.seconds += now - self._since
            self.waited += self._wait
            for name, value in self._figures().items():
                pl_module.log(name, value, prog_bar=True)
        self._since = now

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.seconds and not trainer.training:
            pl_module.log_dict(self._figures())

    def _figures(self) -> dict[str, float]:
        return {
            "throughput/pairs_per_second": self.pairs / self.seconds,
            "throughput/data_wait": self.waited / self.seconds,
            "throughput/seconds": self.seconds,
        }

    def state_dict(self) -> dict[str, Any]:
        return {"pairs": self.pairs, "seconds": self.seconds, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pairs, self.seconds = state_dict["pairs"], state_dict["seconds"]
        self.waited = state_dict["waited"]


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, counting steps of one distillation instead of epochs without an end."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "distilling"

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        names = {
            "train/loss": "loss",
            "throughput/pairs_per_second": "pairs/s",
            "throughput/data_wait": "data wait",
            "deploy/gap": "gap",
        }
        shown = super().get_metrics(trainer, pl_module)
        found = {short: shown[name] for name, short in names.items() if name in shown}
        if "data wait" in found:
            found["data wait"] = f"{float(str(found['data wait'])):.0%}"
        return found
