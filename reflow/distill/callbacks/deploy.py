"""The loss that training reports against the loss that deployment sees (the founding report's 14x).

Training averages over its own padding rule; deployment draws full-width noise, takes the teacher's endpoint
as it is and feels the real dimensions only, on observations held out.

The gap compares like with like: real dimensions on both sides. A rule that lets padding into the loss reports
a mean over easier (or harder) dimensions too, and a healthy run would show a gap that is none; that quotient is
logged beside it as ``deploy/gap_reported``. Where the loss is on real dimensions the two are one number.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import lightning as L
import torch
from torch import Tensor

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import Distillation
from reflow.flow import straight_path
from reflow.metrics import RelativeVelocityError, VelocityErrorProfile, VelocityLoss

_TRAINING = {"train/loss": "loss", "train/loss_real": "loss_real"}


class DeployGap(Measurement):
    """Logs ``train/loss``, ``train/loss_real``, ``deploy/{loss,gap,gap_reported}``, ``velocity/relative_error``.

    Args:
        window: training steps whose mean is the reported training loss.
        time_bins: rows of the velocity error profile (time x dimension).
    """

    def __init__(self, window: int = 200, time_bins: int = 10) -> None:
        if window < 1:
            raise ValueError(f"window is {window}; allowed: 1 or more training steps")
        self.losses: dict[str, deque[Tensor]] = {name: deque(maxlen=window) for name in _TRAINING}
        self.time_bins = time_bins
        self.profile: Tensor | None = None
        """Mean squared velocity error ``[time_bins, d]`` of the last validation."""

    def setup(self, trainer: L.Trainer, pl_module: Distillation, stage: str) -> None:
        space = pl_module.rule.space
        self._relative, self._loss, self._profile = (
            RelativeVelocityError(space),
            VelocityLoss(space),
            VelocityErrorProfile(self.time_bins, space),
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Distillation, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, key in _TRAINING.items():
            self.losses[name].append(outputs[key].detach())
            pl_module.log(name, outputs[key], prog_bar=True)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Distillation,
        outputs: HeldOut,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        point = straight_path(outputs.randn, outputs.endpoint, outputs.t)
        v_t = pl_module.student.velocity(outputs.student_context, point.x_t, outputs.t)
        for metric in (self._relative, self._loss):
            metric.to(v_t.device).update(v_t, point.u_t)
        self._profile.to(v_t.device).update(v_t, point.u_t, outputs.t)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        deploy = self._loss.compute().float()
        pl_module.log("velocity/relative_error", self._relative.compute().float())
        pl_module.log("deploy/loss", deploy)
        if self.losses["train/loss"]:
            trained = {
                name: torch.stack(list(window)).mean().to(deploy.device)
                for name, window in self.losses.items()
            }
            pl_module.log("deploy/gap", deploy / trained["train/loss_real"], prog_bar=True)
            pl_module.log("deploy/gap_reported", deploy / trained["train/loss"])
            if not trainer.training:
                pl_module.log_dict(trained)
        self.profile = self._profile.compute().cpu()
        for metric in (self._relative, self._loss, self._profile):
            metric.reset()

    def state_dict(self) -> dict[str, Any]:
        return {name: [loss.item() for loss in window] for name, window in self.losses.items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for name, window in self.losses.items():
            window.extend(torch.tensor(loss) for loss in state_dict[name])
