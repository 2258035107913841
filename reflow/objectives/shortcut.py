"""Shortcut models: a big step of the student equals two steps half as big."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance, TimeSampler, straight_path
from reflow.objectives.base import Loss
from reflow.objectives.spanned import Spanned, put, take
from reflow.objectives.step import Actions, Step


class Shortcut(Spanned):
    """Shortcut models (Frans et al. 2024, "One Step Diffusion via Shortcut Models", algorithm 1).

    Args:
        time: where the velocity itself (span 0) is trained.
        draws, draw_pool, actions, distance, share: see :class:`Spanned`; the paper's share is a quarter.
        decay: of the averaged student, whose half steps are the target.
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
        """The velocity from the pairs, that of big steps from two steps of the averaged student."""
        pairs, t = step.pairs(self.draws, self.draw_pool, self.actions), step.times(self.time, self.draws)
        jumping = self.jumping(step)
        length, begin = self.grid(step, jumping)
        t, span = put(t, jumping, begin), put(torch.zeros_like(t), jumping, length)
        point = straight_path(pairs.noise, pairs.action, t)
        target = put(point.u_t, jumping, self.halves(step, take(point.x_t, jumping), begin, length))
        return self.regress(self.ask(step, point.x_t, t, span), target, step.rule, inside=pairs.inside)

    def grid(
        self, step: Step, jumping: Int[Tensor, "b j"]
    ) -> tuple[Float[Tensor, "b j"], Float[Tensor, "b j"]]:
        """How far jumps go (1, 1/2, 1/4, ...), and where they begin: a multiple of that."""
        halved = (take(step.uniform(self.draws, 2), jumping) * (self.halvings + 1)).floor()
        length = 0.5**halved
        return length, ((take(step.uniform(self.draws, 3), jumping) / length).floor() + 1) * length

    @torch.no_grad()
    def halves(
        self, step: Step, x_t: Float[Tensor, "b j h d"], t: Float[Tensor, "b j"], span: Float[Tensor, "b j"]
    ) -> Float[Tensor, "b j h d"]:
        """The mean velocity of two half steps of the averaged student."""
        half = span / 2
        smaller = torch.where(half < 0.5 ** (self.halvings + 0.5), torch.zeros_like(half), half)
        first = self.ask(step, x_t, t, smaller, step.average)
        x_between = x_t - half[..., None, None] * first
        return (first + self.ask(step, x_between, t - half, smaller, step.average)) / 2
