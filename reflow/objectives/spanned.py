"""What objectives with a second time share: the further input of the student, and which draws learn which."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance
from reflow.objectives.base import Objective
from reflow.objectives.span import add_span, asked_for, fold_span
from reflow.objectives.step import Actions, Step
from reflow.policies import FlowPolicy


class Spanned(Objective):
    """An objective whose student is asked for mean velocities over spans of time (:mod:`reflow.objectives.span`).

    Args:
        draws, draw_pool, actions, distance: see :class:`Objective`.
        share: of the draws that learn a span, rather than the velocity at t itself.
    """

    def __init__(
        self,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        share: float = 0.5,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance)
        if not 0.0 < share <= 1.0:
            raise UserError(f"objective.share is {share}; allowed: above 0, up to 1")
        self.share = share

    def prepare(self, student: FlowPolicy) -> None:
        """Adds the second time to the student's inputs."""
        add_span(student)

    def fold(self, student: FlowPolicy) -> None:
        """Takes it up in a bias, at the span of a deployed step."""
        fold_span(student)

    def jumps(self, step: Step) -> Float[Tensor, "b k"]:
        """1 for the draws that learn a span, 0 for the others; each observation has its share, to within a draw."""
        first = step.uniform(self.draws, 1)[:, :1]
        counted = (first + self.share * torch.arange(self.draws + 1, device=first.device)).floor()
        return counted.diff(dim=1)

    def ask(
        self,
        step: Step,
        x_t: Float[Tensor, "b k h d"],
        t: Float[Tensor, "b k"],
        span: Float[Tensor, "b k"],
        student: FlowPolicy | None = None,
    ) -> Float[Tensor, "b k h d"]:
        """The mean velocity over a span below t: of the student, or of another in its place."""
        with asked_for(student or step.student, span) as asked:
            return asked.velocity(step.student_context, x_t, t)
