"""The loop that the founding report was written about, again, from stock LeRobot calls alone.

Two whole policies in memory. Per observation one noise; the teacher encodes and integrates (``sample_actions``); the
student encodes again in its own training forward, whose gradient may go through the prefix. LeRobot's forward makes
``x_t`` and ``u_t`` itself and draws the times. Padding is treated as the script did it, or by any other
:class:`reflow.flow.PaddingRule`, where only speed is to be compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import PaddingRule, TimeSampler
from reflow.policies import Batch, FlowPolicy, StockTraining, load_policy, train_groups


class Reference:
    """The founding loop's step, up to the loss.

    Args:
        teacher: in eval mode, frozen.
        student: made by :func:`founding_student`.
        rule: of padding; the script's is ``real`` three times.
        time: draws the times in the place of LeRobot's own; None leaves them to it.
        seed: of the noise.
    """

    def __init__(
        self,
        teacher: FlowPolicy,
        student: FlowPolicy,
        rule: PaddingRule,
        *,
        time: TimeSampler | None = None,
        seed: int = 0,
    ) -> None:
        self.teacher, self.student, self.rule, self.time = teacher, student, rule, time
        self.device = next(teacher.parameters()).device
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def training_step(self, batch: Batch) -> Float[Tensor, ""]:
        """The loss of a batch, one fresh noise per observation."""
        space = self.rule.space
        size = len(batch[OBS_STATE])
        randn = torch.randn(
            size, space.chunk_size, space.max_action_dim, device=self.device, generator=self.generator
        )
        with torch.no_grad():
            endpoint = self.walk(batch, self.rule.teacher_noise(randn))
        return self.loss(batch, self.rule.noise(randn), self.rule.target(endpoint), self._times(size))

    def walk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """The teacher's endpoint, by LeRobot's ``sample_actions``, at native width."""
        return _stock(self.teacher).stock_endpoint(batch, noise)

    def loss(
        self,
        batch: Batch,
        noise: Float[Tensor, "b h d"],
        action: Float[Tensor, "b h d"],
        time: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, ""]:
        """LeRobot's training forward, averaged over the dimensions that count."""
        return self.rule.loss(_stock(self.student).stock_losses(batch, action, noise, time)).mean()

    def timed_methods(self) -> tuple[tuple[Any, str, str], ...]:
        """What a stopwatch wraps: object, method, part."""
        return (
            (self, "walk", "teacher"),
            (self, "loss", "student forward"),
            *((*_stock(policy).stock_prefix(), "prefix") for policy in (self.teacher, self.student)),
        )

    def _times(self, size: int) -> Float[Tensor, " b"] | None:
        if self.time is None:
            return None
        return self.time(torch.rand(size, device=self.device, generator=self.generator))


def founding_student(folder: Path, device: str) -> FlowPolicy:
    """A second whole policy, of which is trained what LeRobot trains by default."""
    student = load_policy(folder, device)
    student.num_steps = 1
    train_groups(student, _stock(student).stock_groups)
    return student.train()


def _stock(policy: FlowPolicy) -> StockTraining:
    if not isinstance(policy, StockTraining):
        raise UserError(
            f"the founding loop asks LeRobot's own training loss, which the adapter of {policy.config.type} does not "
            "offer (reflow.policies.StockTraining); leave out the contender reference"
        )
    return policy
