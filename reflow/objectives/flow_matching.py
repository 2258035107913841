"""Flow matching: the policy's own loss on the data's actions. No teacher: the control to beat."""

from __future__ import annotations

from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import TimeSampler, straight_path
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Step


def inside_mean(error: Float[Tensor, "b k h a"], inside: Bool[Tensor, "b 1 h 1"]) -> Float[Tensor, ""]:
    """Mean over the time steps inside the episode, as LeRobot's ``SmolVLAPolicy.forward`` takes it."""
    return (error * inside).sum() / (inside.sum() * error.shape[1] * error.shape[-1]).clamp_min(1)


class FlowMatching(Objective):
    """Conditional flow matching (Lipman et al. 2023, eq. 9), time drawn from any sampler.

    Biased towards noise, it is said to give good one-step policies by itself ("Let It Be Simple", arXiv 2606.05737).
    Noise has native width, as stock LeRobot draws it; padding actions are zero.

    Args:
        time: where on the path the student is trained.
        draws, draw_pool: see :class:`Objective`.
        times: times per noise.
    """

    needs_endpoints: ClassVar[bool] = False
    needs_actions: ClassVar[bool] = True

    def __init__(
        self, time: TimeSampler, draws: int = 2, draw_pool: int | None = None, times: int = 1
    ) -> None:
        super().__init__(draws, draw_pool)
        if times < 1:
            raise UserError(f"objective.times is {times}; allowed: 1 or more")
        self.time, self.times = time, times

    def forward(self, step: Step) -> Loss:
        """Mean of ``|v(x_t, t) - (noise - action)|^2`` over real time steps and the loss dimensions."""
        action, inside = step.action()
        noise = step.noise(self.draws, self.draw_pool).repeat_interleave(self.times, 1)
        t = step.times(self.time, self.draws, self.times)
        point = straight_path(noise, action.expand_as(noise), t)
        error = (step.velocity(point.x_t, t) - point.u_t).square()
        real = inside_mean(step.rule.space.real(error.detach()), inside)
        return Loss(inside_mean(step.rule.loss(error), inside), real)

    def cost(self, teacher_calls: int) -> Cost:
        """The student alone."""
        return Cost(0, self.times, self.times)
