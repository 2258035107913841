"""Checkpoints that are whole or not there, one of the last step among them, and the one before kept.

Lightning stages a checkpoint in the temporary folder and moves it, which is no rename across file systems,
and does not flush it. Here it is staged beside its place, flushed, and renamed.
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities.exceptions import SIGTERMException

from reflow.errors import UserError
from reflow.files import replace_file
from reflow.notices import warn

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"


class DamagedCheckpointError(UserError):
    """No checkpoint of a run is whole, or what is in its place is none."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin with a write that survives being killed; what it replaces is kept once more."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        path = Path(path)

        def write(staged: Path) -> None:
            torch.save(checkpoint, staged)
            with open(staged, "rb") as handle:
                os.fsync(handle.fileno())  # before its predecessor leaves its place
            if path.is_file():
                path.replace(path.with_name(PREVIOUS))

        replace_file(path, write)

    def load_checkpoint(self, path: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        checkpoint = super().load_checkpoint(path, *arguments, **keywords)
        if not isinstance(checkpoint, dict) or "pytorch-lightning_version" not in checkpoint:
            raise DamagedCheckpointError(
                f"{path} is a file of torch, but no checkpoint of a run; put the run's own in its place, or delete "
                f"{Path(path).parent}, and the same command begins again"
            )
        return checkpoint


class TrainingCheckpoint(ModelCheckpoint):
    """Lightning's, which also writes one when training is done, and one when it is told to stop (SIGTERM).

    So nothing that comes after training can cost it.
    """

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save_now(trainer)
        super().on_train_end(trainer, pl_module)

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        # Between two steps. In a validation the average stands in the student's place, and waits to be put back.
        if isinstance(exception, SIGTERMException) and trainer.training:
            self._save_now(trainer)
        super().on_exception(trainer, pl_module, exception)

    def _save_now(self, trainer: L.Trainer) -> None:
        if trainer.global_step and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def whole_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint of a run that is whole, or None where there is none at all.

    Nothing is unpickled: a checkpoint is a zip archive, whose index and checksums are looked at.

    Args:
        folder: the run's ``checkpoints``.

    Raises:
        DamagedCheckpointError: there are some, and none is whole; names each.
    """
    damaged: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        if (damage := _damage(path)) is None:
            if damaged:
                step = torch.load(path, weights_only=False, mmap=True, map_location="cpu")["global_step"]
                warn(f"{damaged[0]}; going on from {path.name}, of step {step}")
            return path
        damaged.append(f"{path} {damage}")
    if damaged:
        raise DamagedCheckpointError(
            f"no checkpoint of this run is whole: {', '.join(damaged)}; put a whole copy in place as {LAST}, or "
            f"delete {folder}, and the same command begins again"
        )
    return None


def _damage(path: Path) -> str | None:
    """What is wrong with the bytes of a checkpoint, or None."""
    if path.stat().st_size == 0:
        return "is empty"
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
            if not any(name.endswith("/data.pkl") for name in archive.namelist()):
                return "is no checkpoint"
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError):
        return "is cut short, or no checkpoint"
    return None if bad is None else f"is damaged in {bad}"
