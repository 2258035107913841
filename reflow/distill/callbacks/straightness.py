"""How straight the student's own trajectory is; 0 means that one step is exact."""

from __future__ import annotations

from typing import Any

import lightning as L

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import Distillation
from reflow.flow import trajectory
from reflow.metrics import Straightness


class StraightnessOfFlow(Measurement):
    """Logs ``straightness/{all,real,padding}`` of the student.

    Args:
        num_steps: points along the trajectory.
    """

    def __init__(self, num_steps: int = 10) -> None:
        self.num_steps = num_steps

    def setup(self, trainer: L.Trainer, pl_module: Distillation, stage: str) -> None:
        self._straightness = Straightness(pl_module.rule.space)

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Distillation,
        outputs: HeldOut,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        student, context = pl_module.student, outputs.student_context
        start = outputs.randn[:, :1]  # one noise per observation is enough
        path = trajectory(student.field(context), start, self.num_steps, time_dims=2)
        self._straightness.to(start.device).update(path.velocities, start, path.endpoint)

    def on_validation_epoch_end(self, trainer: L.Trainer, pl_module: Distillation) -> None:
        pl_module.log_dict(
            {f"straightness/{part}": value.float() for part, value in self._straightness.compute().items()}
        )
        self._straightness.reset()
