"""The one measuring callback: held-out batches to the probes, their figures to the logger.

Beside them the deploy gap: the loss that deployment sees over the loss that training reports (the founding report's
14x). Training averages over its own padding rule; deployment draws native-width noise, takes the teacher's endpoint
as it is and feels the real dimensions only, on observations held out.

The gap compares like with like: real dimensions on both sides, at the times of training
(``deploy/loss_at_trained_times`` where those are not the times of the student's steps). A rule that lets padding into
the loss reports a mean over easier (or harder) dimensions too, and a healthy run would show a gap that is none; that
quotient is logged as ``deploy/gap_reported``. Where the loss is on real dimensions the two are one number. An
objective whose loss asks another question than deployment does tells no gap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from reflow.distill.callbacks.base import Measurement
from reflow.distill.module import Distillation
from reflow.errors import UserError
from reflow.flow import EndpointTime, GridTime
from reflow.probes import Figures, Observations, Probe

_TRAINING = {"train/loss": "loss", "train/loss_real": "loss_real"}
_HISTOGRAM = "histogram/"


class Measure(Measurement):
    """Logs what its probes find on held-out observations; with ``deploy/loss`` also ``deploy/{gap,gap_reported}``.

    While training goes on, probes leave out what is expensive or never changes; ``Trainer.validate`` asks for all.
    TensorBoard also gets their histograms.

    Args:
        probes: what is measured.
        window: training steps whose mean is the reported training loss.

    Attributes:
        found: what the last validation found.
        losses: of the last training steps, by name.

    Raises:
        UserError: window is below 1.
    """

    def __init__(self, probes: Iterable[Probe] = (), window: int = 100) -> None:
        if window < 1:
            raise UserError(f"window is {window}; allowed: 1 or more training steps")
        self.probes = list(probes)
        self.losses: dict[str, deque[Tensor]] = {name: deque(maxlen=window) for name in _TRAINING}
        self.found = Figures()
        self._taught: dict[tuple[int, ...], Tensor] = {}  # the teacher stays: its endpoints are found once

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Distillation, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, key in _TRAINING.items():
            self.losses[name].append(outputs[key].detach())

    def on_validation_epoch_start(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        time, steps = getattr(pl_module.objective, "time", None), pl_module.student.num_steps
        as_deployed = time == GridTime(steps) or (steps == 1 and time == EndpointTime())
        self._observations = Observations(
            {"teacher": pl_module.teacher, "student": pl_module.student},
            pl_module.random,
            pl_module.val_draws,
            pl_module.rule,
            None if as_deployed else time,
            taught=self._taught,
        )
        final = trainer.state.fn == TrainerFn.VALIDATING  # not one of the validations in between
        for probe in self.probes:
            probe.start(self._observations, thorough=final)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Distillation, outputs: Any, batch: Any, *_: Any
    ) -> None:
        seen = self._observations.see(batch)
        for probe in self.probes:
            probe.update(seen)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        self.found = Figures()
        for probe in self.probes:
            self.found |= probe.result()
        pl_module.log_dict(self.found.metrics)
        if self.losses["train/loss"]:
            means = {name: torch.stack(list(window)).mean() for name, window in self.losses.items()}
            # Every process has learnt from other batches; held-out ones they all have seen.
            trained = {
                name: trainer.strategy.reduce(mean, reduce_op="mean").item() for name, mean in means.items()
            }
            found = self.found.metrics
            deploy = found.get("deploy/loss_at_trained_times", found.get("deploy/loss"))
            if deploy is not None and pl_module.objective.tells_gap:
                pl_module.log("deploy/gap", deploy / trained["train/loss_real"], prog_bar=True)
                pl_module.log("deploy/gap_reported", deploy / trained["train/loss"])
            if trainer.state.fn == TrainerFn.VALIDATING:
                pl_module.log_dict(trained)
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                for name, values in self.found.arrays.items():
                    if name.startswith(_HISTOGRAM):
                        who_what, part = name.removeprefix(_HISTOGRAM).rsplit("/", 1)
                        logger.experiment.add_histogram(f"{part}/{who_what}", values, trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        return {name: [loss.item() for loss in window] for name, window in self.losses.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, window in self.losses.items():
            window.extend(torch.tensor(loss) for loss in state_dict[name])


def with_probes(entries: Mapping[str, Any]) -> dict[str, Any]:
    """The callbacks among the entries of ``conf/callbacks``; the probes among them go to the measuring one."""
    probes = [entry for entry in entries.values() if isinstance(entry, Probe)]
    callbacks = {name: entry for name, entry in entries.items() if not isinstance(entry, Probe)}
    for callback in callbacks.values():
        if isinstance(callback, Measure):
            callback.probes += probes
    return callbacks
