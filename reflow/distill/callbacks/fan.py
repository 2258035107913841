"""The flow of one held-out observation: ways from many noises, as teacher and student walk them."""

from __future__ import annotations

from typing import Any

import lightning as L
import torch
from torch import Tensor

from reflow.distill.callbacks.base import Measurement
from reflow.distill.heldout import HeldOut
from reflow.distill.module import HELD_OUT_DRAWS, Distillation
from reflow.flow import trajectory

_FIRST_DRAW = 4 * HELD_OUT_DRAWS  # noise that no other measurement draws


class FlowOfOneObservation(Measurement):
    """Keeps trajectories for the report's figure; logs nothing. Looks once, in the final measurement.

    Of the chunk one step is kept: that in which the teacher's endpoints spread most.

    Args:
        noises: trajectories of each policy.
    """

    def __init__(self, noises: int = 16) -> None:
        if noises < 2:
            raise ValueError(f"noises is {noises}; allowed: 2 or more, for one way is no fan")
        self.noises = noises
        self.arrays: dict[str, Tensor] = {}
        """``fan/<who>`` ``[k, s + 1, d]`` and ``fan/<who>/times`` ``[s + 1]``, from noise to action."""

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: Distillation,
        outputs: HeldOut,
        batch: Any,
        batch_idx: int,
        *_: Any,
    ) -> None:
        if trainer.training or batch_idx:
            return
        noise, _times = pl_module.draw(batch, self.noises, _FIRST_DRAW)
        paths = {
            who: trajectory(policy.field(context), noise, policy.num_steps, time_dims=2)
            for who, policy, context in (
                ("teacher", pl_module.teacher, outputs.teacher_context),
                ("student", pl_module.student, outputs.student_context),
            )
        }
        spread = pl_module.rule.space.real(paths["teacher"].endpoint[0]).var(dim=0).sum(dim=-1)
        step = int(spread.argmax())
        for who, path in paths.items():
            self.arrays[f"fan/{who}"] = path.states[:, 0, :, step].transpose(0, 1).cpu()
            self.arrays[f"fan/{who}/times"] = path.times.to(torch.float32).cpu()
