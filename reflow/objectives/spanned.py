"""What objectives with a second time share: the further input of the student, and which draws learn which."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import SQUARED, Distance
from reflow.objectives.base import Cost, Objective
from reflow.objectives.span import add_span, asked_for, fold_span
from reflow.objectives.step import Actions, Step
from reflow.policies import FlowPolicy


class Spanned(Objective):
    """An objective whose student is asked for mean velocities over spans of time (:mod:`reflow.objectives.span`).

    Some draws of an observation, others at every visit, *jump*: they learn a span. The rest learn the velocity at t
    itself, from the pairs.

    Args:
        draws, draw_pool, actions, distance: see :class:`Objective`.
        share: of the draws that jump, to within a draw; one at least.
    """

    tells_gap = False

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
        self.share, self.jumps = share, max(1, round(share * draws))

    def prepare(self, student: FlowPolicy) -> None:
        """Adds the second time to the student's inputs."""
        add_span(student)

    def fold(self, student: FlowPolicy) -> None:
        """Takes it up in a bias, at the span of a deployed step."""
        fold_span(student)

    def jumping(self, step: Step) -> Int[Tensor, "b j"]:
        """The draws that jump."""
        return step.uniform(self.draws, 1).argsort(1)[:, : self.jumps]

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

    def cost(self, teacher_calls: int) -> Cost:
        """An endpoint, where the teacher's are asked for; two velocities for the target of a jump; one to learn."""
        student_calls = 1 + 2 * self.jumps / self.draws
        return Cost(teacher_calls if self.needs_endpoints else 0, student_calls, 1)


def take(values: Float[Tensor, "b k *rest"], draws: Int[Tensor, "b j"]) -> Float[Tensor, "b j *rest"]:
    """These draws of each observation."""
    return values[torch.arange(len(draws), device=draws.device)[:, None], draws]


def put(
    values: Float[Tensor, "b k *rest"], draws: Int[Tensor, "b j"], others: Float[Tensor, "b j *rest"]
) -> Float[Tensor, "b k *rest"]:
    """A copy with others in the place of these draws."""
    copy = values.clone()
    copy[torch.arange(len(draws), device=draws.device)[:, None], draws] = others
    return copy
