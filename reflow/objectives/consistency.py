"""Consistency distillation: wherever the student stands on the teacher's way, its step ends at the same place."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import SQUARED, Distance, GridTime, straight_path
from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.step import Actions, Step, check_strangers
from reflow.policies import FlowPolicy


class Consistency(Objective):
    """Consistency distillation (Song et al. 2023, "Consistency Models", algorithm 2) on the teacher's own grid.

    A point of the path at a time of the teacher's grid, and the one where a step of the teacher leads from there: the
    student's step to the end from the first is to end where the averaged student's does from the second. After the
    last step of the teacher that is where the teacher ends.

    Points are made of an action and noise that knows nothing of it, as in the paper; so the teacher's endpoints meet
    the noise of another draw.

    Args:
        draws: 2 or more where the teacher's endpoints are the actions.
        draw_pool, actions, distance: see :class:`Objective`.
        decay: of the averaged student.
    """

    tells_gap = False

    def __init__(
        self,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        decay: float = 0.99,
    ) -> None:
        super().__init__(draws, draw_pool, actions, distance)
        check_strangers(draws, actions)
        self.decay = decay

    @property
    def average_decay(self) -> float:
        """The target is the averaged student."""
        return self.decay

    def forward(self, step: Step) -> Loss:
        """Mean of ``|f(x_t, t) - f_average(x_s, s)|^2``, s being a step of the teacher after t."""
        pairs = step.pairs(self.draws, self.draw_pool, self.actions).shuffled()
        t = step.times(GridTime(step.teacher.num_steps), self.draws)
        x_t = straight_path(pairs.noise, pairs.action, t).x_t
        with torch.no_grad():
            s = t - 1.0 / step.teacher.num_steps
            s = torch.where(s < 0.5 / step.teacher.num_steps, torch.zeros_like(s), s)
            x_s = x_t - (t - s)[..., None, None] * step.teacher.velocity(step.teacher_context, x_t, t)
            assert step.average is not None  # average_decay asks for it
            target = end(step.average, step.student_context, x_s, s)
        return self.regress(
            end(step.student, step.student_context, x_t, t), target, step.rule, inside=pairs.inside
        )

    def cost(self, teacher_calls: int) -> Cost:
        """One endpoint and a further step of the teacher; the student and its average."""
        return Cost((teacher_calls if self.needs_endpoints else 0) + 1, 2, 1)


def end(
    policy: FlowPolicy, context: object, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
) -> Float[Tensor, "b k h d"]:
    """Where one step to t = 0 ends; a point at t = 0 is there already, and some policies divide by their time."""
    asked = torch.where(t > 0, t, torch.ones_like(t))
    return x_t - t[..., None, None] * policy.velocity(context, x_t, asked)
