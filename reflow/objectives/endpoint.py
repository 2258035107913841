"""Endpoint regression: one step of the student is to end where the teacher ends. Known as knowledge distillation."""

from __future__ import annotations

from dataclasses import replace

import torch

from reflow.flow import couple, velocity_loss
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Step


class Endpoint(Objective):
    """Knowledge distillation of a sampler (Luhman & Luhman 2021, "Knowledge Distillation in Iterative Generative
    Models", eq. 5; named so by Liu et al. 2022, section 2.2).

    The student is asked at t = 1 alone, where ``x_t`` is the noise; so it learns one step and no more.
    """  # noqa: D205

    def forward(self, step: Step) -> Loss:
        """Mean of ``|noise - v(noise, 1) - action|^2`` over the dimensions that enter the loss."""
        randn = step.noise(self.draws, self.draw_pool)
        coupling = couple(randn, step.endpoint(randn), step.rule)
        v_1 = step.velocity(coupling.noise, torch.ones(randn.shape[:2], device=randn.device))
        end = coupling.noise - v_1
        real = velocity_loss(end.detach(), coupling.action, replace(step.rule, loss_dims="real"))
        return Loss(velocity_loss(end, coupling.action, step.rule), real)

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, one velocity of the student."""
        return Cost(teacher_calls, 1, 1)
