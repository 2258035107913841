"""Checkpoints that are whole or not there, one of the last step among them, and the one before kept.

Lightning stages a checkpoint in the temporary folder and moves it, which is no rename across file systems,
and does not flush it. Here it is staged beside its place, flushed, and renamed. It holds tensors and plain values,
and is read by torch's reader of those alone; and it says which run wrote it, for no other goes on from it.
"""

from __future__ import annotations

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
from reflow.files import flush, replace_file
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
            with open(staged, "wb") as file:
                torch.save(checkpoint, file)
            flush(staged)  # before its predecessor leaves its place
            if path.is_file():
                path.replace(path.with_name(PREVIOUS))

        replace_file(path, write)

    def load_checkpoint(self, path: Any, *arguments: Any, **keywords: Any) -> dict[str, Any]:
        checkpoint = _own(Path(path), self._run())
        del checkpoint[WRITER]
        return checkpoint


class TrainingCheckpoint(ModelCheckpoint):
    """Lightning's, at a moment at which a step is over with all that belongs to it.

    Lightning writes one before a step's figures are logged and before the validation that is due, so a run that goes
    on from there has lost both. Here it is written when the next step begins, or training has ended; so nothing that
    comes after training can cost it. A signal that tells the run to stop waits for that moment and costs no step.
    """

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._signals, self._step = PostponedSignals(), 0
        self._begun = False  # the next step, while a checkpoint is written

    @property
    def state_key(self) -> str:
        return super().state_key.replace(type(self).__qualname__, ModelCheckpoint.__qualname__)

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._signals.remember()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self._step = trainer.global_step
        self._signals.postpone(trainer)

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        stepped, self._step = trainer.global_step != self._step, trainer.global_step
        if not stepped:  # nothing is new, or gradients are still added up
            return
        self._begun = True
        super().on_train_batch_end(trainer, pl_module, None, batch, batch_idx)
        if self._signals.agreed(trainer):
            self._save_now(trainer)
            self._signals.hand_over()
        self._begun = False

    def on_train_batch_end(self, *_: Any) -> None:
        """Nothing yet: see above."""

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._save_now(trainer)
        super().on_train_end(trainer, pl_module)
        self._signals.hand_over()

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if not self._begun:
            return
        # Lightning goes on from the end of a batch: what of the counts has happened since, it counts once more.
        loop = checkpoint["loops"]["fit_loop"]
        loop["epoch_loop.state_dict"]["_batches_that_stepped"] -= 1
        for count in loop["epoch_loop.batch_progress"]["total"], loop["epoch_loop.batch_progress"]["current"]:
            count["ready"] -= 1
            count["completed"] -= 1

    def _save_checkpoint(self, trainer: L.Trainer, filepath: str) -> None:
        for logger in trainer.loggers:  # what a run that goes on from there does not log again
            logger.save()
        super()._save_checkpoint(trainer, filepath)

    def _save_now(self, trainer: L.Trainer) -> None:
        if trainer.global_step and not self._should_skip_saving_checkpoint(trainer):
            self._save_topk_checkpoint(trainer, self._monitor_candidates(trainer))


def whole_checkpoint(folder: Path, run: str | None = None) -> Path | None:
    """The newest checkpoint of a run that is whole, or None where there is none at all.

    Nothing is unpickled: a checkpoint is a zip archive, whose index and checksums are looked at.

    Args:
        folder: the run's ``checkpoints``.
        run: the run's id; None for a run that has none.

    Raises:
        DamagedCheckpointError: there are some, and none is whole; names each.
    """
    damaged: list[str] = []
    for path in (folder / LAST, folder / PREVIOUS):
        if not path.is_file():
            continue
        if (damage := _damage(path)) is None:
            if damaged:
                warn(f"{damaged[0]}; going on from {path.name}, of step {step_of(path, run)}")
            return path
        damaged.append(f"{path} {damage}")
    if damaged:
        raise DamagedCheckpointError(
            f"no checkpoint of this run is whole: {', '.join(damaged)}; put a whole copy in place as {LAST}, or "
            f"delete {folder}, and the same command begins again"
        )
    return None


def step_of(path: Path | None, run: str | None = None) -> int:
    """Steps of training that a run's checkpoint has behind it; 0 where there is none.

    Args:
        path: the checkpoint.
        run: the id of the run; None for a run that has none.

    Raises:
        DamagedCheckpointError: it is no checkpoint.
        ForeignCheckpointError: another run's.
    """
    # Asked here, too, for not all strategies of Lightning load by the plugin above.
    return 0 if path is None else int(_own(path, run, mmap=True)["global_step"])


def _own(path: Path, run: str | None, *, mmap: bool = False) -> dict[str, Any]:
    """What a checkpoint of this run holds."""
    checkpoint = _plain(path, mmap=mmap)
    if not isinstance(checkpoint, dict) or "pytorch-lightning_version" not in checkpoint:
        raise DamagedCheckpointError(
            f"{path} is a file of torch, but no checkpoint of a run; put the run's own in its place, or delete "
            f"{path.parent}, and the same command begins again"
        )
    if checkpoint.setdefault(WRITER, None) != run:
        raise ForeignCheckpointError(
            f"{path} was written by another run than the one in this folder; put the run's own in its place, or "
            f"delete {path.parent}, and the same command begins again"
        )
    return checkpoint


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
