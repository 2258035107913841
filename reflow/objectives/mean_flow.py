"""Mean flows: the mean velocity over a span, by the identity that ties it to the velocity at its beginning."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.autograd import forward_ad

from reflow.flow import SQUARED, Distance, TimeSampler, straight_path
from reflow.objectives.base import Cost, Loss
from reflow.objectives.spanned import Spanned
from reflow.objectives.step import Actions, Step


class MeanFlow(Spanned):
    """Mean flows (Geng et al. 2025, "Mean Flows for One-step Generative Modeling", eq. 6 and algorithm 1).

    With u the mean velocity over a span below t, ``u = v - span * du/dt`` where the span's end stays where it is; the
    derivative is one forward-mode product along (v, 1, 1).

    Args:
        time: where spans begin; how far they go is drawn evenly from all that is left.
        draws, draw_pool, actions, distance: see :class:`Objective`.
        share: of the draws that learn a span; the paper's is a quarter to three quarters.
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
        pairs = step.pairs(self.draws, self.draw_pool, self.actions)
        t = step.times(self.time, self.draws)
        span = self.jumps(step) * t * (1.0 - step.uniform(self.draws, 2))
        point = straight_path(pairs.noise, pairs.action, t)
        slope = self.slope(step, point.x_t, t, span, point.u_t)
        target = point.u_t - span[..., None, None] * slope
        return self.regress(self.ask(step, point.x_t, t, span), target, step.rule, inside=pairs.inside)

    @torch.no_grad()
    def slope(
        self,
        step: Step,
        x_t: Float[Tensor, "b k h d"],
        t: Float[Tensor, "b k"],
        span: Float[Tensor, "b k"],
        v_t: Float[Tensor, "b k h d"],
    ) -> Float[Tensor, "b k h d"]:
        """``du/dt`` of the student along the path, the span's end staying where it is."""
        one = torch.ones_like(t)
        with forward_ad.dual_level():
            moving = [
                forward_ad.make_dual(value, tangent) for value, tangent in ((x_t, v_t), (t, one), (span, one))
            ]
            u = forward_ad.unpack_dual(self.ask(step, *moving))
        return torch.zeros_like(x_t) if u.tangent is None else u.tangent

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, one derivative (a velocity and its tangent), one velocity to learn."""
        return Cost(teacher_calls if self.needs_endpoints else 0, 3, 1)
