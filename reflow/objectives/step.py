"""What an objective is given of a training batch: both policies' view of it, noise and times by identity, endpoints.

Legend of shapes: b batch, k noises per observation, h chunk step, d native width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from lerobot.utils.constants import ACTION
from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.endpoints.source import Endpoints
from reflow.errors import UserError
from reflow.flow import Coupling, Draws, PaddingRule, TimeSampler, couple, draw_identities
from reflow.policies import Batch, FlowPolicy

Actions = Literal["teacher", "data"]
"""What noise is paired with: ``teacher``, its endpoint of that very noise; ``data``, the data's own action."""


_LANE = 2**44
"""Between the identities of two lanes of uniform numbers: beyond every draw, those held out (2**40 on) included."""


def check_actions(actions: str) -> None:
    """Refuses what is neither.

    Raises:
        UserError: names what is allowed.
    """
    if actions not in get_args(Actions):
        raise UserError(
            f"objective.actions={actions}; allowed: teacher (its endpoints) or data (the data's own actions)"
        )


def check_strangers(draws: int, actions: Actions) -> None:
    """Refuses a single noise where the teacher's endpoints are to meet noise that knows nothing of them.

    Raises:
        UserError: there is no other draw whose noise that could be.
    """
    if draws < 2 and actions == "teacher":
        raise UserError(
            f"objective.draws={draws} with objective.actions=teacher; allowed: 2 or more, for the teacher's "
            "endpoints meet the noise of another draw"
        )


@dataclass(frozen=True)
class Step:
    """One training batch.

    Attributes:
        teacher: frozen.
        student: in training.
        average: the averaged student, where the objective asked for one.
        teacher_context, student_context: the observations, encoded by each; one object where they share the prefix.
        rule: what happens to padding.
        batch: the observations.
        endpoints: where the teacher's integration from a noise ends.
        random: all noise and times, by identity.
        send: brings a tensor to the device of the policies without waiting.
    """

    teacher: FlowPolicy
    student: FlowPolicy
    average: FlowPolicy | None
    teacher_context: Any
    student_context: Any
    rule: PaddingRule
    batch: Batch
    endpoints: Endpoints
    random: Draws
    send: Callable[[Tensor], Tensor]

    def noise(self, draws: int, pool: int | None = None) -> Float[Tensor, "b k h d"]:
        """The policies' base noise at native width: a function of seed, sample, visit and draw.

        Args:
            draws: noises per observation.
            pool: noises that an observation has in all, used again and again; None for never the same twice.
        """
        sample, visit = self.batch[SAMPLE].cpu(), self.batch[VISIT].cpu()
        return self.send(self.teacher.noise(self.random, sample, draw_identities(visit, draws, pool)))

    def times(self, sampler: TimeSampler, draws: int, times: int = 1) -> Float[Tensor, "b kt"]:
        """Times, new at every visit, in the order of :meth:`reflow.flow.Coupling.repeat`.

        Args:
            sampler: of the distribution.
            draws: noises per observation.
            times: per noise, one from each of as many equal parts of the distribution.
        """
        sample, visit = self.batch[SAMPLE].cpu(), self.batch[VISIT].cpu()
        u = self.random.uniform(sample, draw_identities(visit, draws))
        return self.send(sampler(((u[..., None] + torch.arange(times)) / times).flatten(1)))

    def uniform(self, draws: int, lane: int) -> Float[Tensor, "b k"]:
        """Uniform numbers in [0, 1), new at every visit and apart from those that :meth:`times` are made of.

        Args:
            draws: noises per observation.
            lane: 1 or more; another lane, other numbers.
        """
        sample, visit = self.batch[SAMPLE].cpu(), self.batch[VISIT].cpu()
        return self.send(self.random.uniform(sample, draw_identities(visit, draws) + lane * _LANE))

    def pairs(self, draws: int, pool: int | None, actions: Actions) -> Coupling:
        """Noise and the actions it is paired with, ``[b, k, h, d]``, both through the padding rule.

        With the data's own actions noise has native width and the action's padding is zero, as LeRobot trains.
        """
        randn = self.noise(draws, pool)
        if actions == "teacher":
            return couple(randn, self.endpoint(randn), self.rule)
        action, inside = self.action()
        return Coupling(randn, action.expand_as(randn), inside.expand(-1, draws, -1, -1))

    def endpoint(self, randn: Float[Tensor, "b k h d"]) -> Float[Tensor, "b k h d"]:
        """The teacher's endpoints of these noises, from wherever they come."""
        return self.endpoints(self.batch, self.teacher_context, randn)

    def velocity(self, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]) -> Float[Tensor, "b k h d"]:
        """The student's velocity, with gradients."""
        return self.student.velocity(self.student_context, x_t, t)

    def action(self) -> tuple[Float[Tensor, "b 1 h d"], Bool[Tensor, "b 1 h 1"]]:
        """The data's own actions as the flow's ends, padding zero as LeRobot trains; which time steps are real.

        Raises:
            UserError: the batch has no actions.
        """
        if ACTION not in self.batch:
            raise UserError(
                "the batch has no actions; an objective that learns from them says so (needs_actions = True)"
            )
        action = F.pad(self.student.target(self.batch[ACTION]), (0, self.rule.space.padding_dim))
        return action[:, None], ~self.batch["action_is_pad"][:, None, :, None]
