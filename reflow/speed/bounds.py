"""What ours is held against: a student's own forward and backward alone, and a student without a teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reflow.distill.module import Distillation
from reflow.flow import PaddingRule, couple, straight_path, velocity_loss
from reflow.policies import Batch, FlowPolicy, load_policy, train_groups, with_velocity
from reflow.speed.conditions import Conditions
from reflow.speed.training import autocast


def ready_loss(module: Distillation, batch: Batch, conditions: Conditions) -> Callable[[Any], Tensor]:
    """The loss of one batch again and again, everything but the student's velocity being ready: the limit of speed.

    Args:
        module: whose student and pairs are meant.
        batch: a live one.
        conditions: of the contest.
    """
    student, rule = module.student, module.rule
    with torch.no_grad(), autocast(conditions.precision, conditions.device):
        step = module.step(batch)
        context, randn = step.student_context, step.noise(module.objective.draws)
        t = torch.ones(randn.shape[:2], device=randn.device)
        coupling = couple(randn, step.endpoint(randn), rule)
    point = straight_path(coupling.noise, coupling.action, t)

    def loss(_: Any) -> Tensor:
        student.zero_grad(set_to_none=True)
        return velocity_loss(student.velocity(context, point.x_t, t), point.u_t, rule)

    return loss


def lone_student(folder: Path, conditions: Conditions) -> FlowPolicy:
    """A student in a world without a teacher, its prefix frozen as ours is."""
    student = load_policy(folder, conditions.device)
    train_groups(student)
    return with_velocity(student.train(), conditions.velocity)


def lone_loss(student: FlowPolicy, conditions: Conditions, draws: int) -> Callable[[Batch], Tensor]:
    """Its loss on chunks that are nobody's endpoints: to see its memory, not to teach it.

    Args:
        student: encodes for itself.
        conditions: of the contest.
        draws: noises per observation.
    """
    space, device = student.space, conditions.device
    rule = PaddingRule(space, "full", "full", "full")
    shape = (conditions.batch_size, draws, space.chunk_size, space.max_action_dim)
    generator = torch.Generator().manual_seed(conditions.seed)
    noise, action = (torch.randn(shape, generator=generator).to(device) for _ in range(2))
    t = torch.ones(shape[:2], device=device)

    def loss(batch: Batch) -> Tensor:
        with torch.no_grad():
            context = student.encode(batch)
        point = straight_path(noise, action, t)
        return velocity_loss(student.velocity(context, point.x_t, t), point.u_t, rule)

    return loss
