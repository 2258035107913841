"""One halving of shortcut models (Frans et al. 2024): a big step of the student equals two steps half as big.

What somebody writes who has another objective: the student learns a second input, the size of its step, through a
parameter of its own; two half steps of the averaged student are the target. A deployed student makes one step of size
1, so that parameter folds into a bias that stock LeRobot has.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reflow.flow import couple, straight_path, velocity_loss
from reflow.objectives import Cost, Loss, Objective, Step
from reflow.policies import FlowPolicy


class Halving(Objective):
    """Half the loss is reflow at small steps, half is consistency between big steps and small ones.

    Args:
        draws: noises per observation.
        decay: of the averaged student.
    """

    def __init__(self, draws: int = 2, decay: float = 0.99) -> None:
        super().__init__(draws)
        self.decay = decay

    @property
    def average_decay(self) -> float:
        return self.decay

    def prepare(self, student: FlowPolicy) -> None:
        layer = student.policy.model.action_in_proj
        student.register_parameter("size", nn.Parameter(torch.zeros_like(layer.bias)))
        student.step_size = 1.0  # as deployed
        layer.register_forward_hook(partial(_add_size, student))

    def fold(self, student: FlowPolicy) -> None:
        layer = student.policy.model.action_in_proj
        with torch.no_grad():
            layer.bias.add_(student.size)
            student.size.zero_()

    def forward(self, step: Step) -> Loss:
        noise = step.noise(self.draws)
        pairs = couple(noise, step.endpoint(noise), step.rule)
        t = torch.ones(noise.shape[:2], device=noise.device)
        half = t / 2
        point = straight_path(pairs.noise, pairs.action, half)
        flow = self.velocity(step.student, step.student_context, point.x_t, half, 0.0)
        with torch.no_grad():
            first = self.velocity(step.average, step.student_context, noise, t, 0.5)
            second = self.velocity(step.average, step.student_context, noise - 0.5 * first, half, 0.5)
        jump = self.velocity(step.student, step.student_context, noise, t, 1.0)
        consistency = velocity_loss(jump, (first + second) / 2, step.rule)
        loss = velocity_loss(flow, point.u_t, step.rule)
        return Loss((loss + consistency) / 2, loss.detach())

    def velocity(self, student: Any, context: Any, x_t: Tensor, t: Tensor, size: float) -> Tensor:
        """The velocity for a step of this size."""
        student.step_size = size
        try:
            return student.velocity(context, x_t, t)
        finally:
            student.step_size = 1.0

    def cost(self, teacher_calls: int) -> Cost:
        return Cost(teacher_calls, student_calls=4, backward_passes=2)


def _add_size(student: Any, layer: nn.Module, inputs: Any, output: Tensor) -> Tensor:
    return output + student.step_size * student.size
