"""Reflow: regress the velocity on the straight line between noise and the teacher's endpoint."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Coupling, Distance, TimeSampler, straight_path
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Actions, Step


class Reflow(Objective):
    """Rectified flow on the teacher's couplings (Liu et al. 2022, "Flow Straight and Fast", eq. 1).

    Args:
        time: where on the path the student is trained.
        draws, draw_pool, actions, distance: see :class:`Objective`.
        times: times per noise at which the student is trained; a pair costs the teacher's steps, a time
            only one of the student's. Of several numbers the largest.
        real_actions: share of the pairs below t = 1 whose action is the data's own (Lee et al. 2024, "Improving the
            Training of Rectified Flows", section 4.3). Never at t = 1: there the noise says nothing of such an
            action, and the student would learn the mean of all.
        rtc_training_max_delay: see :class:`Objective`.
    """

    several_steps = True

    def __init__(
        self,
        time: TimeSampler,
        draws: int = 2,
        draw_pool: int | None = None,
        times: int | Sequence[int] = 1,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        real_actions: float = 0.0,
        rtc_training_max_delay: int = 0,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance, rtc_training_max_delay)
        times = times if isinstance(times, int) else max(times, default=0)
        if times < 1:
            raise UserError(f"objective.times is {times}; allowed: 1 or more")
        if not 0.0 <= real_actions <= 1.0:
            raise UserError(f"objective.real_actions is {real_actions}; allowed: 0 to 1")
        self.time, self.times, self.real_actions = time, times, real_actions
        self.tells_gap = self.tells_gap and not real_actions

    @property
    def needs_actions(self) -> bool:
        """Also where some of the pairs have them."""
        return self.actions == "data" or self.real_actions > 0

    def forward(self, step: Step) -> Loss:
        """Mean of ``|v(x_t, t) - (noise - action)|^2`` over the dimensions that enter the loss."""
        pairs = step.pairs(self.draws, self.draw_pool, self.actions).repeat(self.times)
        t = step.times(self.time, self.draws, self.times)
        if self.real_actions:
            pairs = self.mixed(step, pairs, t)
        pairs = self.given(step, pairs, self.times)
        point = straight_path(pairs.noise, pairs.action, t)
        return self.regress(step.velocity(point.x_t, t), point.u_t, step.rule, inside=pairs.inside)

    def mixed(self, step: Step, pairs: Coupling, t: Float[Tensor, "b kt"]) -> Coupling:
        """The pairs, a share of those below t = 1 with the data's own action in the place of the teacher's."""
        chosen = step.uniform(self.draws, 1).repeat_interleave(self.times, 1) < self.real_actions
        real = (chosen & (t < 1))[..., None, None]
        action, inside = step.action()
        return Coupling(pairs.noise, torch.where(real, action, pairs.action), inside | ~real)

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, and the student at every time."""
        return Cost(teacher_calls if self.needs_endpoints else 0, self.times, self.times)
