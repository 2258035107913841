"""The loop that the founding report was written about, again, from stock LeRobot calls alone.

Two whole policies in memory. Per observation one noise; the teacher looks and walks its steps (``sample_actions``);
the student looks again in its own training forward, whose gradient goes through the text model to ``state_proj``.
LeRobot's forward makes ``x_t`` and ``u_t`` itself and draws the times. Padding is treated as the script did it, or by
any other :class:`reflow.flow.PaddingRule`, where only speed is to be compared.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor

from reflow.flow import PaddingRule, TimeSampler
from reflow.policies import Batch, FlowPolicy, load_policy


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
        size = len(batch[OBS_LANGUAGE_TOKENS])
        randn = torch.randn(
            size, space.chunk_size, space.max_action_dim, device=self.device, generator=self.generator
        )
        with torch.no_grad():
            endpoint = self.walk(batch, self.rule.teacher_noise(randn))
        return self.loss(batch, self.rule.noise(randn), self.rule.target(endpoint), self._times(size))

    def walk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """The teacher's endpoint, by LeRobot's ``sample_actions``, at native width."""
        return self.teacher.stock_endpoint(batch, noise)

    def loss(
        self,
        batch: Batch,
        noise: Float[Tensor, "b h d"],
        action: Float[Tensor, "b h d"],
        time: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, ""]:
        """LeRobot's training forward, averaged over the dimensions that count."""
        policy = self.student.policy
        images, masks = policy.prepare_images(batch)
        losses = policy.model.forward(
            images,
            masks,
            batch[OBS_LANGUAGE_TOKENS],
            batch[OBS_LANGUAGE_ATTENTION_MASK],
            policy.prepare_state(batch),
            action,
            noise,
            time,
        )
        return self.rule.loss(losses).mean()

    def timed_methods(self) -> tuple[tuple[Any, str, str], ...]:
        """What a stopwatch wraps: object, method, part."""
        return (
            (self, "walk", "teacher"),
            (self, "loss", "student forward"),
            (self.teacher.policy.model, "embed_prefix", "prefix"),
            (self.student.policy.model, "embed_prefix", "prefix"),
        )

    def _times(self, size: int) -> Float[Tensor, " b"] | None:
        if self.time is None:
            return None
        return self.time(torch.rand(size, device=self.device, generator=self.generator))


def founding_student(folder: Path, device: str) -> FlowPolicy:
    """A second whole policy, trained as SmolVLA's own flags say: the expert and ``state_proj``."""
    student = load_policy(folder, device)
    student.num_steps = 1
    student.prepare_for_distillation(train_state_proj=True)
    return student.train()
