"""Checkpoints that are whole or not there, one of the last step among them, and the one before kept.

Lightning stages a checkpoint in the temporary folder and moves it, which is no rename across file systems,
and does not flush it. Here it is staged beside its place, flushed, and renamed. It holds tensors and plain values,
and is read by torch's reader of those alone; and it says which run wrote it, for no other goes on from it.
"""

from __future__ import annotations

import os
import pickle
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch.callbacks import ModelCheckpoint

from reflow.errors import UserError
from reflow.files import replace_file
from reflow.notices import warn
from reflow.stopping import PostponedSignals

LAST, PREVIOUS = "last.ckpt", "previous.ckpt"
WRITER = "reflow_run"  # the key under which a checkpoint says who wrote it


class DamagedCheckpointError(UserError):
    """No checkpoint of a run is whole, or what is in its place is none."""


class ForeignCheckpointError(UserError):
    """A checkpoint of another run, or one that holds more than tensors and plain values."""


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoint plugin with a write that survives being killed; what it replaces is kept once more.

    Args:
        run: the id of the run whose checkpoints these are; None for a run that has none.
    """

    def __init__(self, run: Callable[[], str | None] = lambda: None) -> None:
        super().__init__()
        self._run = run

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        path, checkpoint = Path(path), checkpoint | {WRITER: self._run()}

        def write(staged: Path) -> None:
            torch.save(checkpoint, staged)
            with open(staged, "rb") as handle:
                os.fsync(handle.fileno())  # before its predecessor leaves its place
            if path.is_file():
                path.replace(path.with_name(PREVIOUS))

        replace_file(path, write)

    def load_checkpoint(self, path: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        checkpoint = _plain(Path(path))
        if not isinstance(checkpoint, dict) or "pytorch-lightning_version" not in checkpoint:
            raise DamagedCheckpointError(
                f"{path} is a file of torch, but no checkpoint of a run; put the run's own in its place, or delete "
                f"{Path(path).parent}, and the same command begins again"
            )
        if checkpoint.pop(WRITER, None) != self._run():
            raise ForeignCheckpointError(
                f"{path} was written by another run than the one in this folder; put the run's own in its place, or "
                f"delete {Path(path).parent}, and the same command begins again"
            )
        return checkpoint


class TrainingCheckpoint(ModelCheckpoint):
    """Lightning's, which also writes one when training is done, and one when a signal tells it to stop.

    So nothing that comes after training can cost it, and a signal costs no step. It waits for the end of a step, and
    of a validation: in one the average stands in the student's place.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._signals, self._step = PostponedSignals(), 0

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._signals.remember()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._signals.postpone(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if stepped and self._signals.agreed(trainer):  # not while gradients are still added up
            self._save_now(trainer)
            self._signals.hand_over()

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save_now(trainer)
        super().on_train_end(trainer, pl_module)
        self._signals.hand_over()

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
                there = _plain(path, mmap=True)
                step = there.get("global_step") if isinstance(there, dict) else None
                warn(f"{damaged[0]}; going on from {path.name}, of step {step}")
            return path
        damaged.append(f"{path} {damage}")
    if damaged:
        raise DamagedCheckpointError(
            f"no checkpoint of this run is whole: {', '.join(damaged)}; put a whole copy in place as {LAST}, or "
            f"delete {folder}, and the same command begins again"
        )
    return None


def _plain(path: Path, *, mmap: bool = False) -> Any:
    """What a file of torch holds, of tensors and plain values; nothing in it is called."""
    try:
        return torch.load(path, weights_only=True, mmap=mmap, map_location="cpu")
    except pickle.UnpicklingError as error:
        names = ", ".join(re.findall(r"GLOBAL (\S+)", str(error))) or "a damaged pickle"
        raise ForeignCheckpointError(
            f"{path} holds more than tensors and plain values ({names}), and loading that would run code; if a "
            "callback of your own put it there, let its state be plain; else put the run's own in its place, or "
            f"delete {path.parent}, and the same command begins again"
        ) from error
    except Exception as error:  # whatever its reader raises, it raises about this file
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        raise DamagedCheckpointError(
            f"{path} cannot be read ({why}); put a whole copy in its place, or delete {path.parent}, and the same "
            "command begins again"
        ) from error


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
