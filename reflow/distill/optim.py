"""Optimizer and schedule: LeRobot's own preset for the policy, each value of which can be overridden."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lerobot.configs import PreTrainedConfig
from lerobot.optim import XVLAAdamWConfig
from torch import nn

from reflow.distill.muon import with_muon
from reflow.errors import UserError


@dataclass(frozen=True)
class OptimizerSettings:
    """What differs from the policy's preset; None keeps the preset.

    Attributes:
        lr: peak learning rate.
        betas: Adam's.
        eps: Adam's.
        weight_decay: AdamW's.
        warmup_steps: linear warm-up.
        decay_steps: length of the cosine decay; LeRobot shortens both to the length of the run.
        decay_lr: learning rate at its end.
        muon_lr: peak learning rate of Muon for the hidden matrices, the schedule being the same; None: AdamW for all.
    """

    lr: float | None = None
    betas: tuple[float, float] | None = None
    eps: float | None = None
    weight_decay: float | None = None
    warmup_steps: int | None = None
    decay_steps: int | None = None
    decay_lr: float | None = None
    muon_lr: float | None = None

    def __post_init__(self) -> None:
        for field in ("lr", "eps", "warmup_steps", "decay_steps", "decay_lr", "muon_lr"):
            value = getattr(self, field)
            if value is not None and value < (0 if field in ("warmup_steps", "decay_lr") else 1e-30):
                raise UserError(
                    f"optimizer.{field} is {value}; allowed: above 0, or null for the policy's preset"
                )

    def build(
        self, policy: PreTrainedConfig, parameters: Mapping[str, nn.Parameter], max_steps: int
    ) -> dict[str, Any]:
        """Lightning's optimizer dictionary for these parameters.

        Args:
            policy: whose preset is the default.
            parameters: the trainable ones by name; some presets know by it which of them have a rate of their own.
            max_steps: length of the run.
        """
        preset = policy.get_optimizer_preset()
        for field in ("lr", "betas", "eps", "weight_decay"):
            value = getattr(self, field)
            if value is not None:
                setattr(preset, field, tuple(value) if field == "betas" else value)
        by_name = isinstance(preset, XVLAAdamWConfig)  # the one preset of LeRobot that asks for names
        optimizer = preset.build(dict(parameters) if by_name else list(parameters.values()))
        for group in optimizer.param_groups:
            if (
                "fused" in group
            ):  # one pass over the weights instead of many: 2.5 times faster at 100 M parameters
                group["fused"] = True
        if self.muon_lr is not None:
            if by_name:
                raise UserError(
                    f"optimizer.muon_lr is {self.muon_lr}, and {policy.type} has learning rates of its own by layer; "
                    "allowed with it: null"
                )
            optimizer = with_muon(self.muon_lr, policy, parameters, optimizer)
        schedule = policy.get_scheduler_preset()
        if schedule is None:
            return {"optimizer": optimizer}
        schedule.peak_lr = preset.lr
        for field, name in (
            ("warmup_steps", "num_warmup_steps"),
            ("decay_steps", "num_decay_steps"),
            ("decay_lr", "decay_lr"),
        ):
            value = getattr(self, field)
            if value is not None:
                setattr(schedule, name, value)
        scheduler = schedule.build(optimizer, max_steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
