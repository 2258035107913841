"""Endpoint regression: one step of the student is to end where the teacher ends. Known as knowledge distillation."""

from __future__ import annotations

import torch

from reflow.flow import SQUARED, Distance
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Step


class Endpoint(Objective):
    """Knowledge distillation of a sampler (Luhman & Luhman 2021, arXiv 2101.02388, eq. 5).

    Named so by Liu et al. 2022, section 2.2. The student is asked at t = 1 alone, where ``x_t`` is the noise; so it
    learns one step and no more.

    Args:
        draws, draw_pool, distance, rtc_training_max_delay: see :class:`Objective`.
    """

    def __init__(
        self,
        draws: int = 2,
        draw_pool: int | None = None,
        distance: Distance = SQUARED,
        rtc_training_max_delay: int = 0,
    ) -> None:
        super().__init__(draws, draw_pool, "teacher", distance, rtc_training_max_delay)

    def forward(self, step: Step) -> Loss:
        """Mean of ``|noise - v(noise, 1) - action|^2`` over the dimensions that enter the loss."""
        pairs = self.given(step, step.pairs(self.draws, self.draw_pool, self.actions))
        v_1 = step.velocity(pairs.noise, torch.ones(pairs.noise.shape[:2], device=pairs.noise.device))
        return self.regress(pairs.noise - v_1, pairs.action, step.rule)

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, one velocity of the student."""
        return Cost(teacher_calls, 1, 1)
