"""MIP: two regressions, one from nothing and one from a noisy answer. Two steps, and no distribution is matched."""

from __future__ import annotations

import torch

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance, GridTime, straight_path
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Actions, Step, check_strangers


class Mip(Objective):
    """The minimal iterative policy (Pan et al. 2025, "Much Ado About Noising", arXiv 2512.01809).

    The first call is to give the action itself, the second to give it again from a point between action and noise.
    Ours are the two calls of a stock two-step Euler sampler, at t = 1 and t = 1/2. The paper's first call sees no
    noise; stock LeRobot hands some in, which knows nothing of the action here, so that the best answer ignores it.

    Args:
        draws, draw_pool, actions, distance: see :class:`Objective`; the teacher's endpoints meet the noise of another
            draw.
    """

    tells_gap = False

    def __init__(
        self,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "data",
        distance: Distance = SQUARED,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance)
        check_strangers(draws, actions)

    def forward(self, step: Step) -> Loss:
        """Mean of ``|a(x_t, t) - action|^2`` at both times, a being where a step to the end leads."""
        if step.student.num_steps != 2:
            raise UserError(
                f"objective=mip with student.num_steps={step.student.num_steps}; it is a policy of two steps "
                "(student.num_steps=2)"
            )
        pairs = step.pairs(self.draws, self.draw_pool, self.actions).shuffled().repeat(2)
        both = GridTime(2)(torch.arange(2, device=pairs.noise.device) / 2)
        t = both.repeat(self.draws).expand(pairs.noise.shape[:2])
        point = straight_path(pairs.noise, pairs.action, t)
        # An action is off by t times as much as the velocity that leads to it.
        v_t = step.velocity(point.x_t, t)
        return self.regress(v_t, point.u_t, step.rule, inside=pairs.inside, weight=t.square())

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, where the teacher's are asked for; the student at both times."""
        return Cost(teacher_calls if self.needs_endpoints else 0, 2, 2)
