"""What every objective is: a loss over a :class:`Step`, and what it needs and costs.

The module around it keeps devices, optimizer, freezing and averages (:mod:`reflow.distill.module`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.objectives.step import Step
from reflow.policies import FlowPolicy


@dataclass(frozen=True)
class Loss:
    """What an objective gives back.

    Attributes:
        value: to be minimised.
        real: the same on real dimensions alone, detached, in units of squared velocity: what ``deploy/gap`` is
            computed from.
    """

    value: Float[Tensor, ""]
    real: Float[Tensor, ""]


@dataclass(frozen=True)
class Cost:
    """What one pair of noise and action costs.

    Attributes:
        teacher_calls: velocity calls of the teacher, without gradients.
        student_calls: velocity calls of the student.
        backward_passes: through the student's velocity.
    """

    teacher_calls: float
    student_calls: float
    backward_passes: float


class Objective(nn.Module, ABC):
    """A training objective.

    It may bring parameters of its own. Those that the student's velocity reads are registered on the student by
    :meth:`prepare`: they are trained, averaged and kept with it, and :meth:`fold` writes them into stock weights.
    Those that only the loss reads are registered here.

    Attributes:
        draws: noises per observation and step (K).
        draw_pool: noises that an observation has in all, used again and again; None for never the same twice.
    """

    needs_endpoints: ClassVar[bool] = True
    """Learns from the teacher's endpoints; else a pair cache would be no use."""
    needs_actions: ClassVar[bool] = False
    """Learns from the data's own actions."""

    def __init__(self, draws: int = 2, draw_pool: int | None = None) -> None:
        super().__init__()
        if draws < 1:
            raise UserError(f"objective.draws is {draws}; allowed: 1 or more")
        if draw_pool is not None and draw_pool < draws:
            raise UserError(
                f"objective.draw_pool={draw_pool} with objective.draws={draws}; allowed: {draws} or more, or null "
                "for noises that never come twice"
            )
        self.draws, self.draw_pool = draws, draw_pool

    @property
    def average_decay(self) -> float | None:
        """Decay per step of the averaged student that the objective wants as a target; None for no such student."""
        return None

    def prepare(self, student: FlowPolicy) -> None:
        """Gives the student's velocity parameters of this objective, before training.

        A hook finds them on the student that it is given by ``functools.partial``: a copy of the student then reads
        its own.
        """

    def fold(self, student: FlowPolicy) -> None:
        """Writes those parameters into the student's stock weights, before delivery: its velocity stays the same."""

    @abstractmethod
    def forward(self, step: Step) -> Loss:
        """The loss of a batch."""

    @abstractmethod
    def cost(self, teacher_calls: int) -> Cost:
        """What a pair costs.

        Args:
            teacher_calls: velocity calls of one endpoint, made live; 0 from a pair cache.
        """
