"""What every objective is: a loss over a :class:`Step`, and what it needs and costs.

The module around it keeps devices, optimizer, freezing and averages (:mod:`reflow.distill.module`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

from jaxtyping import Bool, Float
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.flow import SQUARED, Coupling, Distance, PaddingRule, velocity_loss
from reflow.objectives.given import check_given
from reflow.objectives.step import Actions, Step, check_actions
from reflow.policies import FlowPolicy

_GIVEN = 4  # the lane of uniform numbers that says how many


@dataclass(frozen=True)
class Loss:
    """What an objective gives back.

    Attributes:
        value: to be minimised.
        real: the squared error on real dimensions alone, detached: what ``deploy/gap`` is computed from, where the
            objective tells one (:attr:`Objective.tells_gap`).
    """

    value: Float[Tensor, ""]
    real: Float[Tensor, ""]


@dataclass(frozen=True)
class Cost:
    """What one pair of noise and action costs.

    Attributes:
        teacher_calls: velocity calls of the teacher, without gradients.
        student_calls: velocity calls of the student, and of its average, with gradients or without.
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
        actions: what noise is paired with: ``teacher``, its endpoint of that very noise; ``data``, the data's own
            action.
        distance: of an answer from its target.
        rtc_training_max_delay: most first actions of a chunk that are given (:meth:`given`); 0 gives none.
    """

    tells_gap: bool = True
    """``Loss.real`` is the error that deployment sees, on what was trained on: ``deploy/gap`` compares the two."""
    several_steps: bool = False
    """One student of it can be asked in one number of steps or in another: it learns the velocity at any time it is
    trained at, and nothing of the number is folded into its weights."""

    def __init__(
        self,
        draws: int = 2,
        draw_pool: int | None = None,
        actions: Actions = "teacher",
        distance: Distance = SQUARED,
        rtc_training_max_delay: int = 0,
    ) -> None:
        super().__init__()
        if rtc_training_max_delay < 0:
            raise UserError(
                f"objective.rtc_training_max_delay is {rtc_training_max_delay}; allowed: 0 (none is given) or more"
            )
        if draws < 1:
            raise UserError(f"objective.draws is {draws}; allowed: 1 or more")
        if draw_pool is not None and draw_pool < draws:
            raise UserError(
                f"objective.draw_pool={draw_pool} with objective.draws={draws}; allowed: {draws} or more, or null "
                "for noises that never come twice"
            )
        check_actions(actions)
        self.draws, self.draw_pool, self.actions, self.distance = draws, draw_pool, actions, distance
        self.rtc_training_max_delay = rtc_training_max_delay
        # Deployment is held against the teacher, and the noise knew nothing of the data's action; where actions are
        # given, it knew more.
        if actions == "data" or rtc_training_max_delay:
            self.tells_gap = False

    @property
    def needs_endpoints(self) -> bool:
        """Learns from the teacher's endpoints; else a pair cache would be no use."""
        return self.actions == "teacher"

    @property
    def needs_actions(self) -> bool:
        """Learns from the data's own actions."""
        return self.actions == "data"

    @property
    def average_decay(self) -> float | None:
        """Decay per step of the averaged student that the objective wants as a target; None for no such student."""
        return None

    def check(self, student: FlowPolicy, rule: PaddingRule) -> None:
        """Asks whether a student can be trained with it, before anything is.

        Raises:
            UserError: actions are to be given that the student could not tell from noise.
        """
        if self.rtc_training_max_delay:
            check_given(self.rtc_training_max_delay, student, rule)

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

    def given(self, step: Step, pairs: Coupling, times: int = 1) -> Coupling:
        """The pairs, the first actions of each chunk given: 0 to ``rtc_training_max_delay``, each as often.

        Args:
            step: the batch.
            pairs: ``[b, k * times, h, d]``.
            times: that each noise stands there in a row.
        """
        if not self.rtc_training_max_delay:
            return pairs
        count = (step.uniform(self.draws, _GIVEN) * (self.rtc_training_max_delay + 1)).long()
        return pairs.given(count.repeat_interleave(times, 1), step.rule.space)

    def regress(
        self,
        answer: Float[Tensor, "b k h d"],
        target: Float[Tensor, "b k h d"],
        rule: PaddingRule,
        *,
        inside: Bool[Tensor, ...] | None = None,
        weight: Float[Tensor, "b k"] | None = None,
    ) -> Loss:
        """The distance of answers from their targets, over the dimensions and time steps that count.

        Args:
            answer: of the student, with gradients.
            target: without.
            rule: which dimensions count.
            inside: which time steps count; None for all.
            weight: of each chunk; None for the same.
        """
        real = velocity_loss(answer.detach(), target, replace(rule, loss_dims="real"), inside=inside)
        if self.distance == SQUARED and weight is None:
            return Loss(velocity_loss(answer, target, rule, inside=inside), real)
        each = self.distance(velocity_loss(answer, target, rule, "none", inside))
        return Loss(each.mean() if weight is None else (weight * each).mean(), real)
