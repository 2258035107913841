"""What both loops do with a loss: backward, clip, AdamW; one optimizer per student, its settings the policy's own."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.lr_scheduler import LambdaLR

from reflow.distill.averaging import AveragedStudent
from reflow.distill.optim import OptimizerSettings
from reflow.errors import UserError
from reflow.policies import FlowPolicy
from reflow.speed.stopwatch import Stopwatch

PRECISIONS = ("32-true", "bf16-mixed")


class Training:
    """Trains a student with the policy's preset: linear warm-up, then a constant learning rate.

    Args:
        student: whose open parameters are trained.
        clip: largest norm of the gradient.
        warmup_steps: 0 or more.
        lr: peak learning rate; None for the preset's.
        decay: of an average of the weights; None for no average.
    """

    def __init__(
        self,
        student: FlowPolicy,
        *,
        clip: float = 10.0,
        warmup_steps: int = 0,
        lr: float | None = None,
        decay: float | None = None,
    ) -> None:
        self.clip = clip
        named = {name: parameter for name, parameter in student.named_parameters() if parameter.requires_grad}
        self.parameters = list(named.values())
        built = OptimizerSettings(lr=lr).build(student.config, named, max_steps=1)
        self.optimizer: torch.optim.Optimizer = built["optimizer"]
        for group in self.optimizer.param_groups:  # LeRobot's schedule has put its first value there
            group["lr"] = group.get("initial_lr", group["lr"])
        self.student = student
        self.average = None if decay is None else AveragedStudent(student, decay)
        self.schedule = LambdaLR(self.optimizer, lambda step: min(1.0, (step + 1) / (warmup_steps + 1)))

    def update(self, loss: Float[Tensor, ""], watch: Stopwatch) -> None:
        """One step of the optimizer."""
        with watch.part("backward"):
            loss.backward()
        with watch.part("optimizer"):
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
            self.optimizer.step()
            self.schedule.step()
            self.optimizer.zero_grad(set_to_none=True)
            if self.average is not None:
                self.average.update(self.student)

    @property
    def delivered(self) -> FlowPolicy:
        """The student as it would be delivered: with averaged weights, where there is an average."""
        return self.student if self.average is None else self.average.policy


def autocast(precision: str, device: str | torch.device) -> contextlib.AbstractContextManager[Any]:
    """The precision of forward passes, as Lightning's plugin of the same name sets it.

    Args:
        precision: one of ``PRECISIONS``.
        device: of the work.

    Raises:
        UserError: unknown precision.
    """
    if precision not in PRECISIONS:
        raise UserError(f"precision={precision}; allowed: {', '.join(PRECISIONS)}")
    if precision == "32-true":
        return contextlib.nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)
