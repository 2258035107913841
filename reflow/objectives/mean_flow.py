"""Mean flows: the mean velocity over a span, by the identity that ties it to the velocity at its beginning."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from reflow.flow import SQUARED, Distance, TimeSampler, straight_path
from reflow.objectives.base import Loss
from reflow.objectives.spanned import Spanned, put, take
from reflow.objectives.step import Actions, Step


class MeanFlow(Spanned):
    """Mean flows (Geng et al. 2025, "Mean Flows for One-step Generative Modeling", eq. 6 and algorithm 1).

    With u the mean velocity over a span below t, ``u = v - span * du/dt`` where the span's end stays where it is; the
    derivative is one forward-mode product along (v, 1, 1), counted as two velocities.

    Args:
        time: where spans begin; how far they go is drawn evenly from all that is left.
        draws, draw_pool, actions, distance, share: see :class:`Spanned`; the paper's share is a quarter to three
            quarters.
    """

    def __init__(
        self,
        time: TimeSampler,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        share: float = 0.5,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance, share)
        self.time = time

    def forward(self, step: Step) -> Loss:
        """Mean of ``|u - (v - span * du/dt)|^2``, v being the pair's own direction."""
        pairs, t = step.pairs(self.draws, self.draw_pool, self.actions), step.times(self.time, self.draws)
        jumping = self.jumping(step)
        begin, point = take(t, jumping), straight_path(pairs.noise, pairs.action, t)
        length = begin * (1.0 - take(step.uniform(self.draws, 2), jumping))
        x_t, v_t = take(point.x_t, jumping), take(point.u_t, jumping)
        mean = v_t - length[..., None, None] * self.slope(step, x_t, begin, length, v_t)
        span, target = put(torch.zeros_like(t), jumping, length), put(point.u_t, jumping, mean)
        return self.regress(self.ask(step, point.x_t, t, span), target, step.rule, inside=pairs.inside)

    @torch.no_grad()
    def slope(
        self,
        step: Step,
        x_t: Float[Tensor, "b j h d"],
        t: Float[Tensor, "b j"],
        span: Float[Tensor, "b j"],
        v_t: Float[Tensor, "b j h d"],
    ) -> Float[Tensor, "b j h d"]:
        """``du/dt`` of the student along the path, the span's end staying where it is."""
        one = torch.ones_like(t)
        with forward_ad.dual_level():
            moving = [
                forward_ad.make_dual(value, tangent) for value, tangent in ((x_t, v_t), (t, one), (span, one))
            ]
            u = forward_ad.unpack_dual(self.ask(step, *moving))
        assert u.tangent is not None  # the velocity depends on x_t
        return u.tangent
