"""Reflow: regress the velocity on the straight line between noise and the teacher's endpoint."""

from __future__ import annotations

from dataclasses import replace

from reflow.errors import UserError
from reflow.flow import TimeSampler, couple, straight_path, velocity_loss
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Step


class Reflow(Objective):
    """Rectified flow on the teacher's couplings (Liu et al. 2022, "Flow Straight and Fast", eq. 1).

    Args:
        time: where on the path the student is trained.
        draws, draw_pool: see :class:`Objective`.
        times: times per noise at which the student is trained; a pair costs the teacher's steps, a time
            only one of the student's.
    """

    def __init__(
        self, time: TimeSampler, draws: int = 2, draw_pool: int | None = None, times: int = 1
    ) -> None:
        super().__init__(draws, draw_pool)
        if times < 1:
            raise UserError(f"objective.times is {times}; allowed: 1 or more")
        self.time, self.times = time, times

    def forward(self, step: Step) -> Loss:
        """Mean of ``|v(x_t, t) - (noise - action)|^2`` over the dimensions that enter the loss."""
        randn, t = step.noise(self.draws, self.draw_pool), step.times(self.time, self.draws, self.times)
        coupling = couple(randn, step.endpoint(randn), step.rule).repeat(self.times)
        point = straight_path(coupling.noise, coupling.action, t)
        v_t = step.velocity(point.x_t, t)
        real = velocity_loss(v_t.detach(), point.u_t, replace(step.rule, loss_dims="real"))
        return Loss(velocity_loss(v_t, point.u_t, step.rule), real)

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, and the student at every time."""
        return Cost(teacher_calls, self.times, self.times)
