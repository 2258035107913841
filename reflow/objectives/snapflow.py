"""SnapFlow: a policy teaches itself to jump, from two steps along its own velocity. No teacher."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import SQUARED, Distance, GridTime, TimeSampler, straight_path
from reflow.objectives.base import Cost, Loss
from reflow.objectives.spanned import Spanned
from reflow.objectives.step import Actions, Step


class SnapFlow(Spanned):
    """Progressive self-distillation (Luan et al. 2026, arXiv 2604.05656).

    Some draws keep the student's velocity what it is, by flow matching; the others learn the step that is deployed
    from two Euler steps along that velocity, its own and of the same moment. The paper's input is the time where a
    step ends; ours is how far it goes, which is a constant of a deployed step whatever their number.

    Args:
        time: where the velocity is kept.
        draws, draw_pool, actions, distance: see :class:`Objective`.
        share: of the draws that learn the step.
    """

    def __init__(
        self,
        time: TimeSampler,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "data",
        distance: Distance = SQUARED,
        share: float = 0.5,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance, share)
        self.time = time

    def forward(self, step: Step) -> Loss:
        """The velocity from the pairs, the deployed step from two half steps along it."""
        pairs = step.pairs(self.draws, self.draw_pool, self.actions)
        jumps = self.jumps(step)
        steps = step.student.num_steps
        t = torch.where(
            jumps.bool(), step.times(GridTime(steps), self.draws), step.times(self.time, self.draws)
        )
        point = straight_path(pairs.noise, pairs.action, t)
        halves = self.halves(step, point.x_t, t, 1 / steps)
        target = torch.where(jumps.bool()[..., None, None], halves, point.u_t)
        return self.regress(
            self.ask(step, point.x_t, t, jumps / steps), target, step.rule, inside=pairs.inside
        )

    @torch.no_grad()
    def halves(
        self, step: Step, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"], span: float
    ) -> Float[Tensor, "b k h d"]:
        """The mean of the student's velocities at t and, one Euler step later, at t - span / 2."""
        at_once = torch.zeros_like(t)
        first = self.ask(step, x_t, t, at_once)
        later = (t - span / 2).clamp_min(0.0)
        return (first + self.ask(step, x_t - span / 2 * first, later, at_once)) / 2

    def cost(self, teacher_calls: int) -> Cost:
        """Two half steps, one velocity to learn; an endpoint, where the teacher's are asked for."""
        return Cost(teacher_calls if self.needs_endpoints else 0, 3, 1)
