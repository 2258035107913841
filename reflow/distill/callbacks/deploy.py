"""The loss that training reports against the loss that deployment sees (the founding report's 14x).

Training averages over its own padding rule; deployment draws full-width noise, takes the teacher's endpoint
as it is and feels the real dimensions only, on observations held out.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import lightning as L
import torch
from torch import Tensor

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import Reflow
from reflow.flow import straight_path
from reflow.metrics import RelativeVelocityError, VelocityErrorProfile, VelocityLoss


class DeployGap(Measurement):
    """Logs ``train/loss``, ``deploy/loss``, ``deploy/gap`` and ``velocity/relative_error``.

    Args:
        window: training steps whose mean is the reported training loss.
        time_bins: rows of the velocity error profile (time x dimension).
    """

    def __init__(self, window: int = 200, time_bins: int = 10) -> None:
        if window < 1:
            raise ValueError(f"window is {window}; allowed: 1 or more training steps")
        self.losses: deque[Tensor] = deque(maxlen=window)
        self.time_bins = time_bins
        self.profile: Tensor | None = None
        """Mean squared velocity error ``[time_bins, d]`` of the last validation."""

    def setup(self, trainer: L.Trainer, pl_module: Reflow, stage: str) -> None:
        space = pl_module.rule.space
        self._relative, self._loss, self._profile = (
            RelativeVelocityError(space),
            VelocityLoss(space),
            VelocityErrorProfile(self.time_bins, space),
        )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: Reflow, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"].detach())
        pl_module.log("train/loss", outputs["loss"], prog_bar=True)

    def on_validation_batch_end(
        self, trainer: L.Trainer, pl_module: Reflow, outputs: HeldOut, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        point = straight_path(outputs.randn, outputs.endpoint, outputs.t)
        v_t = pl_module.student.velocity(outputs.student_context, point.x_t, outputs.t)
        for metric in (self._relative, self._loss):
            metric.to(v_t.device).update(v_t, point.u_t)
        self._profile.to(v_t.device).update(v_t, point.u_t, outputs.t)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Reflow) -> None:
        deploy = self._loss.compute().float()
        pl_module.log("velocity/relative_error", self._relative.compute().float())
        pl_module.log("deploy/loss", deploy)
        if self.losses:
            reported = torch.stack(list(self.losses)).mean().to(deploy.device)
            pl_module.log("deploy/gap", deploy / reported, prog_bar=True)
            if not trainer.training:
                pl_module.log("train/loss", reported)
        self.profile = self._profile.compute().cpu()
        for metric in (self._relative, self._loss, self._profile):
            metric.reset()

    def state_dict(self) -> dict[str, Any]:
        return {"losses": [loss.item() for loss in self.losses]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.losses.extend(torch.tensor(loss) for loss in state_dict["losses"])
