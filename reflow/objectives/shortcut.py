"""Shortcut models: a big step of the student equals two steps half as big."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance, TimeSampler, straight_path
from reflow.objectives.base import Cost, Loss
from reflow.objectives.spanned import Spanned
from reflow.objectives.step import Actions, Step


class Shortcut(Spanned):
    """Shortcut models (Frans et al. 2024, "One Step Diffusion via Shortcut Models", algorithm 1).

    Args:
        time: where the velocity itself (span 0) is trained.
        draws, draw_pool, actions, distance: see :class:`Objective`.
        decay: of the averaged student, whose half steps are the target.
        share: of the draws that learn a span, rather than the velocity; the paper's is a quarter.
        halvings: spans are 1, 1/2, 1/4, ..., with so many halvings; below the last one steps are of span 0.
    """

    def __init__(
        self,
        time: TimeSampler,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        decay: float = 0.99,
        share: float = 0.5,
        halvings: int = 3,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance, share)
        if halvings < 0:
            raise UserError(f"objective.halvings is {halvings}; allowed: 0 or more")
        self.time, self.decay, self.halvings = time, decay, halvings

    @property
    def average_decay(self) -> float:
        """The paper's target is an averaged network."""
        return self.decay

    def forward(self, step: Step) -> Loss:
        """The velocity of small steps from data, that of big ones from two steps of the averaged student."""
        pairs = step.pairs(self.draws, self.draw_pool, self.actions)
        jumps = self.jumps(step)
        halved = (step.uniform(self.draws, 2) * (self.halvings + 1)).floor()
        span = jumps * 0.5**halved
        # A jump starts at a multiple of its span: at t = span, 2 span, ..., 1.
        of_grid = ((step.uniform(self.draws, 3) / span.clamp_min(1e-9)).floor() + 1) * span
        t = torch.where(jumps.bool(), of_grid, step.times(self.time, self.draws))
        point = straight_path(pairs.noise, pairs.action, t)
        target = torch.where(jumps.bool()[..., None, None], self.halves(step, point.x_t, t, span), point.u_t)
        return self.regress(self.ask(step, point.x_t, t, span), target, step.rule, inside=pairs.inside)

    @torch.no_grad()
    def halves(
        self, step: Step, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"], span: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """The mean velocity of two half steps of the averaged student."""
        half = span / 2
        smaller = torch.where(half < 0.5 ** (self.halvings + 0.5), torch.zeros_like(half), half)
        first = self.ask(step, x_t, t, smaller, step.average)
        x_between = x_t - half[..., None, None] * first
        return (first + self.ask(step, x_between, t - half, smaller, step.average)) / 2

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, two half steps, one velocity to learn."""
        return Cost(teacher_calls if self.needs_endpoints else 0, 3, 1)
