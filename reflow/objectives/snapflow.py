"""SnapFlow: a policy teaches itself to jump, from two steps along its own velocity. No teacher."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import SQUARED, Distance, GridTime, TimeSampler, straight_path
from reflow.objectives.base import Loss
from reflow.objectives.spanned import Spanned, put, take
from reflow.objectives.step import Actions, Step


class SnapFlow(Spanned):
    """Progressive self-distillation (Luan et al. 2026, arXiv 2604.05656).

    Some draws keep the student's velocity what it is, by flow matching; the others learn the step that is deployed
    from two Euler steps along that velocity, its own and of the same moment. The paper's input is the time where a
    step ends; ours is how far it goes, which is a constant of a deployed step whatever their number.

    Args:
        time: where the velocity is kept.
        draws, draw_pool, actions, distance, share: see :class:`Spanned`.
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
        pairs, t = step.pairs(self.draws, self.draw_pool, self.actions), step.times(self.time, self.draws)
        jumping, length = self.jumping(step), 1 / step.student.num_steps
        begin = take(step.times(GridTime(step.student.num_steps), self.draws), jumping)
        t, span = put(t, jumping, begin), put(torch.zeros_like(t), jumping, torch.full_like(begin, length))
        point = straight_path(pairs.noise, pairs.action, t)
        target = put(point.u_t, jumping, self.halves(step, take(point.x_t, jumping), begin, length))
        return self.regress(self.ask(step, point.x_t, t, span), target, step.rule, inside=pairs.inside)

    @torch.no_grad()
    def halves(
        self, step: Step, x_t: Float[Tensor, "b j h d"], t: Float[Tensor, "b j"], length: float
    ) -> Float[Tensor, "b j h d"]:
        """The mean of the student's velocities at t and, one Euler step later, at t - length / 2."""
        at_once = torch.zeros_like(t)
        first = self.ask(step, x_t, t, at_once)
        return (first + self.ask(step, x_t - length / 2 * first, t - length / 2, at_once)) / 2
