"""X-VLA as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is the encoder of Florence-2 over the first camera and the words, with the features of the other cameras
beside it; ``velocity`` is a transformer of its own over noisy actions, state, time and all of that. Its network
answers with the action, not with a velocity. On the straight path ``x_t = t noise + (1 - t) action`` the velocity is
``noise - action = (x_t - action) / t``, and that is what is given here.

LeRobot's sampler is not Euler over it: every step goes from the noise it began with towards the last answer, and asks
there anew, where Euler goes on from where it is. The first two points are the same in both, and the last step of
either ends at the answer, so that one step and two are Euler's, and three and more are not. So a teacher ends where
LeRobot's sampler ends (:meth:`XVLAFlow.walk`, :meth:`XVLAFlow.end`), and a student takes two steps at most.

Left out: storing a prefix. Its tokens have no mask, so that a longer one would be another observation.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
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
from reflow.policies.capabilities import ActionBias, FreezablePrefix, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient

EULER_STEPS = 2
"""So many equal steps, or fewer, are the same in LeRobot's sampler and by Euler."""


@dataclass(frozen=True)
class XVLAContext:
    """An encoded observation.

    Attributes:
        tokens: what Florence-2 makes of the first camera and the words.
        others: features of the other cameras; of no token, where there is one camera.
        state: padded to the width that the policy takes; of no width where it takes none.
        domain: which of the domains' weights and soft prompts are meant.
    """

    tokens: Float[Tensor, "b s w"]
    others: Float[Tensor, "b o w"]
    state: Float[Tensor, "b p"]
    domain: Int[Tensor, " b"]

    def repeat(self, draws: int) -> XVLAContext:
        """The context with every observation ``draws`` times in a row."""
        if draws == 1:
            return self
        many = functools.partial(torch.repeat_interleave, repeats=draws, dim=0)
        return XVLAContext(many(self.tokens), many(self.others), many(self.state), many(self.domain))


class XVLAFlow(FlowPolicy[XVLAContext], ActionBias, FreezablePrefix, StockCheck):
    """Adapter for ``lerobot.policies.xvla``."""

    policy: XVLAPolicy
    backbones = {"tokenizer_name": "tokenizer"}
    integrates = False
    steps_field = "num_denoising_steps"
    prefixes = {
        "language": ("policy.model.vlm.language_model.",),
        "vision": ("policy.model.vlm.",),
    }
    # A step of the usual size is lost in bfloat16, so weights are float32 here.
    runtime = {"dtype": "float32"}

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        """Refuses actions that are no points of a flow."""
        if config.action_mode.lower() != "auto":
            raise UserError(
                f"action_mode={config.action_mode} in {folder / 'config.json'}; allowed: auto. The others weigh or "
                "hide some dimensions (grippers are set to zero on the way in, and are logits on the way out), so "
                "that where their sampler ends is no action: choose a teacher trained with policy.action_mode=auto"
            )

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], self.policy.model.dim_action, config.chunk_size)

    def take_steps(self, num_steps: int) -> None:
        """One or two, with which LeRobot's sampler and Euler are the same."""
        if num_steps > EULER_STEPS:
            raise UserError(
                f"student.num_steps={num_steps}; allowed for a policy of type xvla: 1 to {EULER_STEPS}. LeRobot's "
                "sampler of it takes no Euler steps where there are more, so such a student would be run otherwise "
                "than it was trained"
            )
        super().take_steps(num_steps)

    def encode(self, batch: Batch) -> XVLAContext:
        model = self.policy.model
        inputs = self.policy._build_model_inputs(dict(batch))
        dtype = model._get_target_dtype()
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            seen = model.forward_vlm(
                inputs["input_ids"], inputs["image_input"].to(dtype), inputs["image_mask"]
            )
        state = inputs["proprio"].to(dtype)
        return XVLAContext(seen["vlm_features"], seen["aux_visual_inputs"], state, inputs["domain_id"])

    def velocity(
        self, context: XVLAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        answer = self._answer(context.repeat(x_t.shape[1]), x_t.flatten(0, 1), t.flatten())
        return (x_t - answer.view(x_t.shape).to(x_t.dtype)) / t[..., None, None].to(x_t.dtype)

    def walk(
        self, context: XVLAContext, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """LeRobot's sampler: from the noise to the last answer, ever further along."""
        steps = self.num_steps if num_steps is None else num_steps
        many = context.repeat(noise.shape[1])
        start = noise.flatten(0, 1).to(self.policy.model._get_target_dtype())
        action = torch.zeros_like(start)
        for left in range(steps, 0, -1):
            t = start.new_full((len(start),), left / steps)
            along = t.view(-1, 1, 1)
            action = self._answer(many, start * along + action * (1 - along), t)
        return action.view(noise.shape).to(noise.dtype)

    def end(
        self, context: XVLAContext, noise: Float[Tensor, "b k h d"], num_steps: int, solver: Solver
    ) -> Float[Tensor, "b k h d"]:
        """By LeRobot's sampler; no other solver has a place in it."""
        if solver != EULER:
            raise UserError(
                f"solver={solver.name}; allowed for a teacher of type xvla: euler. LeRobot's inference of it "
                "integrates no velocity field, so there is none that another solver could integrate better"
            )
        return self.walk(context, noise, num_steps)

    def _answer(
        self, context: XVLAContext, x_t: Float[Tensor, "n h d"], t: Float[Tensor, " n"]
    ) -> Float[Tensor, "n h d"]:
        """The action that its network takes ``x_t`` for."""
        model = self.policy.model
        dtype = model._get_target_dtype()
        state, noisy = model.action_space.preprocess(context.state, x_t.to(dtype))
        answer: Tensor = model.transformer(
            domain_id=context.domain,
            vlm_features=context.tokens,
            aux_visual_inputs=context.others,
            action_with_noise=noisy,
            proprio=state,
            t=t.to(dtype),
        )
        return answer

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        """It takes a noise, and draws its own."""
        drawn = noise.to(self.policy.model._get_target_dtype())
        with patch("torch.randn", lambda *_, **__: drawn):
            return self.policy.predict_action_chunk(dict(batch)).to(noise.dtype)

    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        with patch.object(self.policy.model.action_space, "postprocess", lambda action: action):
            return self.stock_chunk(batch, noise)

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        """Its loss is of actions: ``t ** 2`` of what the same error is as one of velocities."""
        dtype = self.policy.model._get_target_dtype()
        seen: list[Tensor] = []

        def keep(_: nn.Module, __: Any, inputs: dict[str, Any], answer: Tensor) -> None:
            seen.extend((inputs["action_with_noise"], answer))

        hook = self.policy.model.transformer.register_forward_hook(keep, with_kwargs=True)
        try:
            with (
                patch("torch.rand", lambda *_, **__: _Times(t.to(dtype))),
                patch("torch.randn_like", lambda *_, **__: noise.to(dtype)),
            ):
                loss, _ = self.policy.forward(dict(batch))
        finally:
            hook.remove()
        x_t, answer = (tensor.to(noise.dtype) for tensor in seen)
        return StockForward(x_t, (x_t - answer) / t.view(-1, 1, 1), loss)

    def counted(self) -> nn.Module:
        return self.policy.model.transformer

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = self.policy.model.transformer.action_encoder
        return layer, layer.bias.weight


class _Times:
    """Stands where LeRobot draws one number, spreads it over a batch and wraps it round: the times, as they are."""

    def __init__(self, t: Float[Tensor, " b"]) -> None:
        self.t = t

    def __add__(self, spread: Tensor) -> _Times:
        return self

    def __mod__(self, end: float) -> Float[Tensor, " b"]:
        return self.t
