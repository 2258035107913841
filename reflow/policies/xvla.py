"""X-VLA as ``encode`` and ``velocity``, built from LeRobot's own parts.

Its network is asked for the action itself, x0, not for a velocity: the velocity here is ``(x_t - x0) / t``. LeRobot's
inference mixes every answer anew with the noise that it began with, and that is no integration of a field: at one
step both are the same, at several they are not (0.1 apart at ten). So a teacher's endpoints are LeRobot's own,
whatever the steps, and a student has one step.

Left out: action modes with logits or masks among their dimensions (grippers), which no straight path leads to.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float, Int
from lerobot.policies.xvla.modeling_xvla import XVLAPolicy
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.flow import EULER, ActionSpace, Solver
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import FreezablePrefix, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient

MODES = ("auto",)
"""Action modes whose loss is the mean squared error of the action, and whose answer is the action."""


@dataclass(frozen=True)
class XVLAContext:
    """An encoded observation: what the transformer reads besides noisy actions and time.

    Attributes:
        vlm_features: Florence's tokens of words and first camera.
        aux_visual_inputs: its features of the other cameras.
        proprio: the state.
        domain_id: which of the domains' weights are meant.
    """

    vlm_features: Float[Tensor, "b s w"]
    aux_visual_inputs: Float[Tensor, "b v w"]
    proprio: Float[Tensor, "b p"]
    domain_id: Int[Tensor, " b"]
    _repeated: dict[int, XVLAContext] = field(default_factory=dict, repr=False, compare=False)

    def inputs(self, draws: int = 1) -> dict[str, Tensor]:
        """By the transformer's names, every observation ``draws`` times in a row; built once per ``draws``."""
        names = [entry.name for entry in fields(self) if not entry.name.startswith("_")]
        if draws != 1 and draws not in self._repeated:
            self._repeated[draws] = XVLAContext(
                *(getattr(self, name).repeat_interleave(draws, 0) for name in names)
            )
        one = self if draws == 1 else self._repeated[draws]
        return {name: getattr(one, name) for name in names}


class XVLAFlow(FlowPolicy[XVLAContext], FreezablePrefix, StockCheck):
    """Adapter for ``lerobot.policies.xvla``."""

    policy: XVLAPolicy
    # A step of the usual size is lost in bfloat16, so weights are float32 here.
    runtime = {"dtype": "float32"}  # noqa: RUF012  (declared a ClassVar by the base)

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        if config.action_mode.lower() not in MODES:
            raise UserError(
                f"action_mode={config.action_mode} in {folder / 'config.json'}; allowed: {', '.join(MODES)}. In the "
                "others some dimensions are logits of grippers, or masked: a path of actions does not lead there"
            )

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], self.policy.model.dim_action, config.chunk_size)

    @property
    def num_steps(self) -> int:
        return self.policy.config.num_denoising_steps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        self.policy.config.num_denoising_steps = value

    def take_steps(self, num_steps: int) -> None:
        if num_steps != 1:
            raise UserError(
                f"student.num_steps={num_steps}; allowed for a policy of type xvla: 1. It predicts actions and not "
                "velocities, and only at one step does LeRobot's inference of it end where a velocity leads"
            )
        super().take_steps(num_steps)

    def encode(self, batch: Batch) -> XVLAContext:
        inputs = self.policy._build_model_inputs(batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            seen = self.policy.model.forward_vlm(
                inputs["input_ids"], inputs["image_input"], inputs["image_mask"]
            )
        return XVLAContext(**seen, proprio=inputs["proprio"], domain_id=inputs["domain_id"])

    def answer(
        self, context: XVLAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """The action that the network sees behind a noisy one."""
        model, given = self.policy.model, context.inputs(x_t.shape[1])
        given["proprio"], noisy = model.action_space.preprocess(given["proprio"], x_t.flatten(0, 1))
        action = model.transformer(action_with_noise=noisy, t=t.flatten(0, 1), **given)
        return action.to(x_t.dtype).unflatten(0, x_t.shape[:2])

    def velocity(
        self, context: XVLAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        return (x_t - self.answer(context, x_t, t)) / t[..., None, None]

    def walk(
        self, context: XVLAContext, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """As LeRobot: every answer is mixed with the noise anew."""
        steps = self.num_steps if num_steps is None else num_steps
        action = torch.zeros_like(noise)
        for step in range(steps, 0, -1):
            t = noise.new_full(noise.shape[:2], step / steps)
            mix = t[..., None, None]
            action = self.answer(context, noise * mix + action * (1 - mix), t)
        return action

    def end(
        self, context: XVLAContext, noise: Float[Tensor, "b k h d"], num_steps: int, solver: Solver
    ) -> Float[Tensor, "b k h d"]:
        if solver != EULER:
            raise UserError(
                f"solver={solver.name}; allowed for a policy of type xvla: euler. It predicts actions and not "
                "velocities, and knows no integration but LeRobot's own"
            )
        return self.walk(context, noise, num_steps)

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        with patch("torch.randn", lambda *_, **__: noise.clone()):  # it draws inside
            return self.policy.predict_action_chunk(dict(batch))

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        model = self.policy.model
        whole = patch.object(
            model.action_space, "postprocess", lambda action: action
        )  # it would cut the padding
        with whole, patch("torch.randn", lambda *_, **__: noise.clone()):
            inputs = self.policy._build_model_inputs(batch)
            return model.generate_actions(**inputs, steps=self.num_steps)

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        seen: dict[str, Tensor] = {}

        def keep(_: nn.Module, __: Any, given: dict[str, Tensor], action: Tensor) -> None:
            seen.update(x_t=given["action_with_noise"], action=action)

        hook = self.policy.model.transformer.register_forward_hook(keep, with_kwargs=True)
        # LeRobot spreads one uniform number evenly over the batch.
        spread = torch.arange(len(t), device=t.device, dtype=t.dtype) / len(t)
        try:
            with (
                patch("torch.rand", lambda *_, **__: t - spread),
                patch("torch.randn_like", lambda *_, **__: noise),
            ):
                loss, _ = self.policy.forward(dict(batch))
        finally:
            hook.remove()
        return StockForward(seen["x_t"], (seen["x_t"] - seen["action"]) / t[:, None, None], loss)

    def counted(self) -> nn.Module:
        return self.policy.model.transformer

    def prefix_groups(self) -> dict[str, list[str]]:
        return self._prefix_groups

    @functools.cached_property
    def _prefix_groups(self) -> dict[str, list[str]]:  # asked at every step, and always the same
        names = [name for name, _ in self.named_parameters() if ".vlm." in name]
        words = "policy.model.vlm.language_model."
        return {
            "vision": [name for name in names if not name.startswith(words)],
            "language": [name for name in names if name.startswith(words)],
        }
