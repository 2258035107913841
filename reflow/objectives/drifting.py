"""Drifting: a set of one-step chunks is drawn to a set of the teacher's, and kept apart from itself."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Step


class Drifting(Objective):
    """Generative modeling via drifting (Deng et al. 2026, arXiv 2602.04770, algorithm 2), one set per observation.

    A chunk that one step makes is to be where a drift takes it: towards the teacher's chunks of that observation,
    away from the student's own. In balance both sets are alike. No chunk is told which of the teacher's is its own,
    so the student may carry a noise elsewhere than the teacher does, and an endpoint error says little of it.

    Args:
        draws: chunks of a set, 2 or more; more say better what the distribution is.
        draw_pool, distance: see :class:`Objective`.
        temperatures: of the kernel ``exp(-distance / temperature)``; distances are measured in the mean one of each
            set, and the drifts of all temperatures, each brought to unit size, are added up.
    """

    tells_gap = False

    def __init__(
        self,
        draws: int = 8,
        draw_pool: int | None = None,
        distance: Distance = SQUARED,
        temperatures: Sequence[float] = (0.05, 0.2, 0.5),
    ) -> None:
        super().__init__(draws, draw_pool, distance=distance)
        if draws < 2:
            raise UserError(f"objective.draws={draws}; allowed: 2 or more, for a chunk drifts among others")
        if not temperatures or min(temperatures) <= 0:
            raise UserError(f"objective.temperatures={list(temperatures)}; allowed: numbers above 0")
        self.temperatures = tuple(temperatures)

    def forward(self, step: Step) -> Loss:
        """Mean of ``|x - sg(x + drift)|^2``, x being where one step of the student ends."""
        pairs = step.pairs(self.draws, self.draw_pool, self.actions)
        v_1 = step.velocity(pairs.noise, torch.ones(pairs.noise.shape[:2], device=pairs.noise.device))
        made = pairs.noise - v_1
        with torch.no_grad():
            here, there = (step.rule.loss(chunks).flatten(2) for chunks in (made, pairs.action))
            scale = _mean_distance(here, there)
            moved = sum(drift(here / scale, there / scale, one) for one in self.temperatures) * scale
            target = made.clone()
            step.rule.loss(target).add_(moved.view_as(step.rule.loss(target)))
        return self.regress(made, target, step.rule)

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint, one velocity of the student."""
        return Cost(teacher_calls, 1, 1)


def drift(
    made: Float[Tensor, "b k n"], wanted: Float[Tensor, "b m n"], temperature: float
) -> Float[Tensor, "b k n"]:
    """Where each made chunk is drawn: to what is wanted, away from what is made; of unit root mean square in all.

    Where both sets are of one distribution, what draws and what repels are alike on average.

    Args:
        made: a set per observation.
        wanted: another.
        temperature: of the kernel, in the units of the chunks times ``sqrt(n)``.
    """
    k, n = made.shape[1:]
    others = torch.cat([wanted, made], 1)
    near = -torch.cdist(made, others) / (temperature * math.sqrt(n))
    itself = torch.eye(k, dtype=torch.bool, device=made.device)
    near[:, :, wanted.shape[1] :].masked_fill_(itself, -torch.inf)  # a chunk does not repel itself
    kernel = (near.softmax(2) * near.softmax(1)).sqrt()
    draws, repels = kernel.split([wanted.shape[1], k], 2)
    drawn = draws * repels.sum(2, keepdim=True)
    repelled = repels * draws.sum(2, keepdim=True)
    moved = drawn @ wanted - repelled @ made
    return moved / moved.square().mean().sqrt().clamp_min(1e-6)


def _mean_distance(made: Tensor, wanted: Tensor) -> Float[Tensor, "b 1 1"]:
    """Of the made chunks from all others, per dimension: the unit in which temperatures are told."""
    n = made.shape[2]
    return torch.cdist(made, wanted).mean((1, 2), keepdim=True).clamp_min(1e-6) / math.sqrt(n)
