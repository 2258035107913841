"""What a person sees while it runs: pairs per second, time left, the loss."""

from __future__ import annotations

import time
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import RichProgressBar

from reflow.data import SAMPLE
from reflow.distill.callbacks.base import Measurement
from reflow.distill.module import Reflow


class Throughput(Measurement):
    """Logs ``throughput/pairs_per_second``: (noise, action) pairs made and learned from per second.

    Data loading is included, validation is not. The first steps, in which caches warm up, do not count.

    Args:
        skip: first steps of this process that do not count.
    """

    def __init__(self, skip: int = 5) -> None:
        self.skip = skip
        self.pairs, self.seconds, self._seen = 0, 0.0, 0
        self._since: float | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Reflow, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        now = time.perf_counter()
        self._seen += 1
        if self._since is not None and self._seen > self.skip:
            self.pairs += len(batch[SAMPLE]) * pl_module.draws * trainer.world_size
            self.seconds += now - self._since
            pl_module.log("throughput/pairs_per_second", self.pairs / self.seconds, prog_bar=True)
        self._since = now

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._since = None

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.seconds and not trainer.training:
            pl_module.log("throughput/pairs_per_second", self.pairs / self.seconds)

    def state_dict(self) -> dict[str, Any]:
        return {"pairs": self.pairs, "seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.pairs, self.seconds = state_dict["pairs"], state_dict["seconds"]


class ProgressBar(RichProgressBar):
    """Lightning's rich bar, counting steps of one distillation instead of epochs without an end."""

    def _get_train_description(self, current_epoch: int) -> str:
        return "distilling"

    def get_metrics(self, trainer: L.Trainer, pl_module: L.LightningModule) -> dict[str, Any]:
        names = {"train/loss": "loss", "throughput/pairs_per_second": "pairs/s", "deploy/gap": "gap"}
        shown = super().get_metrics(trainer, pl_module)
        return {short: shown[name] for name, short in names.items() if name in shown}
