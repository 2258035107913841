"""Ordinary flow matching, as LeRobot 0.6.1 trains SmolVLA: how the demo's teacher came to be.

Noise has native width, the loss averages the real dimensions (LeRobot since 0.5.1) or all native ones (until
0.5.0), padded time steps are masked, time follows Beta(1.5, 1). One thing is ours: several noises per
observation share its encoded prefix.
"""

from __future__ import annotations

import math
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from jaxtyping import Float
from lerobot.utils.constants import ACTION
from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.flow import BetaTime, Draws, Extent, PaddingRule, straight_path, velocity_loss
from reflow.policies import FlowPolicy


class FlowMatching(L.LightningModule):
    """Trains a policy from scratch on demonstrated action chunks.

    Args:
        policy: an adapter whose whole policy is trainable.
        draws: noises per observation and step.
        loss_dims: ``real``, or ``full`` to supervise padding (its actions are zero) as well.
        seed: of noise and time.
        lr: peak learning rate; cosine decay to 2 % of it at ``max_steps``.
        warmup_steps: linear warm-up.
        max_steps: length of the schedule.
        weight_decay: AdamW's.
    """

    def __init__(
        self,
        policy: FlowPolicy,
        *,
        draws: int,
        loss_dims: Extent,
        seed: int,
        lr: float,
        warmup_steps: int,
        max_steps: int,
        weight_decay: float,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.rule = PaddingRule(policy.space, noise_dims="full", target_dims="full", loss_dims=loss_dims)
        self.draws, self.random, self.time = draws, Draws(seed), BetaTime()
        self.lr, self.warmup_steps, self.max_steps, self.weight_decay = (
            lr,
            warmup_steps,
            max_steps,
            weight_decay,
        )

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = self.loss(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        self.log("val/loss", self.loss(batch), prog_bar=True, batch_size=len(batch[SAMPLE]))

    def loss(self, batch: dict[str, Any]) -> Float[Tensor, ""]:
        """Flow-matching loss of a batch with actions."""
        sample = batch[SAMPLE].cpu()
        draw = batch[VISIT].cpu()[:, None] * self.draws + torch.arange(self.draws)
        space = self.rule.space
        noise = self.policy.noise(self.random, sample, draw).to(self.device)
        t = self.time(self.random.uniform(sample, draw)).to(self.device)
        action = F.pad(self.policy.target(batch[ACTION]), (0, space.padding_dim))[:, None].expand_as(noise)
        point = straight_path(noise, action, t)
        v_t = self.policy.velocity(self.policy.encode(batch), point.x_t, t)
        return velocity_loss(v_t, point.u_t, self.rule, inside=~batch["action_is_pad"][:, None, :, None])

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(
            (parameter for parameter in self.parameters() if parameter.requires_grad),
            lr=self.lr,
            betas=(0.9, 0.95),
            weight_decay=self.weight_decay,
        )

        def factor(step: int) -> float:
            if step < self.warmup_steps:
                return (step + 1) / self.warmup_steps
            progress = min(1.0, (step - self.warmup_steps) / max(1, self.max_steps - self.warmup_steps))
            return 0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * progress))

        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
