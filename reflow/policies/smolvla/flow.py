"""SmolVLA as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is the first half of LeRobot's ``VLAFlowMatching.sample_actions`` (prefix embedding and the
pass that fills the key/value cache), ``velocity`` is its ``denoise_step``. Against the training
``forward`` of the same class, loss and gradient differ by exactly zero in float32.

SmolVLA's time convention (t=1 noise, t=0 action, u = noise - action) is already ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float
from lerobot.policies.smolvla.configuration_smolvla import SmolVLAConfig
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, make_att_2d_masks
from lerobot.utils.constants import ACTION, OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.caches import layers_of
from reflow.policies.capabilities import (
    CONTEXT,
    VELOCITY,
    VISION,
    ActionBias,
    FreezablePrefix,
    PaddingInputs,
    StockForward,
    StockTraining,
    StorablePrefix,
    Tensors,
    VelocityWays,
)
from reflow.policies.groups import encodes_with_gradient
from reflow.policies.smolvla.context import SmolVLAContext
from reflow.policies.watch import watched

_VLM = "policy.model.vlm_with_expert.vlm."
ALOHA_JOINTS = 14
"""Joints that LeRobot's ``adapt_to_pi_aloha`` reaches for: two arms of six and a gripper."""
_VISION = (f"{_VLM}model.vision_model.", f"{_VLM}model.connector.")


class SmolVLAFlow(
    FlowPolicy[SmolVLAContext],
    StorablePrefix[SmolVLAContext],
    ActionBias,
    FreezablePrefix,
    PaddingInputs,
    StockTraining,
    VelocityWays,
):
    """Adapter for ``lerobot.policies.smolvla``."""

    policy: SmolVLAPolicy
    backbones = {"vlm_model_name": "vlm"}
    steps_field = "num_steps"
    prefixes = {
        "state_proj": ("policy.model.state_proj.",),
        "vision": _VISION,
        "language": (_VLM,),
    }
    stock_groups = (VELOCITY, "state_proj")
    training_way = "shared"
    vision_groups = ("vision",)

    def __init__(self, policy: SmolVLAPolicy) -> None:
        if not policy.config.use_cache:
            raise UserError(
                "use_cache=False in the policy's config.json: the prefix could not be shared between "
                "steps; set it to true (the results are the same)"
            )
        if policy.config.adapt_to_pi_aloha:
            _check_aloha(policy.config)
        super().__init__(policy)

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        config.load_vlm_weights = False  # every weight is in model.safetensors

    def vision_features(self, batch: Batch) -> Tensors:
        images, masks = self.policy.prepare_images(batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            features = [self.policy.model.vlm_with_expert.embed_image(image) for image in images]
        return {"features": torch.stack(features, 1), "masks": torch.stack(masks, 1)}

    def encode(self, batch: Batch) -> SmolVLAContext:
        if CONTEXT in batch:
            return self.unpack(batch[CONTEXT])
        policy, model = self.policy, self.policy.model
        # LeRobot's ALOHA conversion writes into the state it is given: hand it a copy.
        batch = policy._prepare_batch({**batch, OBS_STATE: batch[OBS_STATE].clone()})
        vision = self._as_live(batch[VISION]) if VISION in batch else self.vision_features(batch)
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            # LeRobot's embed_prefix encodes images by itself; it is handed vision features in their place.
            patch.object(model.vlm_with_expert, "embed_image", lambda features: features),
        ):
            embeddings, pad_masks, attention_masks = model.embed_prefix(
                vision["features"].unbind(1),
                vision["masks"].unbind(1),
                batch[OBS_LANGUAGE_TOKENS],
                batch[OBS_LANGUAGE_ATTENTION_MASK],
                state=policy.prepare_state(batch),
            )
            _, cache = model.vlm_with_expert.forward(
                attention_mask=make_att_2d_masks(pad_masks, attention_masks),
                position_ids=torch.cumsum(pad_masks, dim=1) - 1,
                past_key_values=None,
                inputs_embeds=[embeddings, None],
                use_cache=True,
            )
        return SmolVLAContext(pad_masks, layers_of(cache))

    def _as_live(self, vision: Tensors) -> Tensors:
        eye = self.policy.model.vlm_with_expert.get_vlm_model().vision_model
        return {"features": vision["features"].to(eye.dtype), "masks": vision["masks"].bool()}

    def pack(self, context: SmolVLAContext) -> Tensors:
        keys, values = (
            torch.stack([entry[which].transpose(1, 2) for entry in context.layers], 2) for which in (0, 1)
        )
        return {"keys": keys, "values": values, "pad_masks": context.pad_masks}

    def unpack(self, tensors: Tensors) -> SmolVLAContext:
        layers = zip(
            *(tensors[name].float().permute(2, 0, 3, 1, 4).unbind(0) for name in ("keys", "values")),
            strict=True,
        )
        return SmolVLAContext(tensors["pad_masks"].bool(), tuple(layers))

    def velocity(
        self, context: SmolVLAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        repeated = context.repeat(x_t.shape[1])
        v_t = self.policy.model.denoise_step(
            prefix_pad_masks=repeated.pad_masks,
            past_key_values=repeated.cache(),
            x_t=x_t.flatten(0, 1),
            timestep=t.flatten(0, 1),
        )
        # Under autocast the last layer answers in 16 bits; the state that it moves stays what it is.
        return v_t.to(x_t.dtype).unflatten(0, x_t.shape[:2])

    def output(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h o"]:
        real = super().output(endpoint)
        if not self.policy.config.adapt_to_pi_aloha:
            return real
        # LeRobot's ALOHA conversion writes into what it is given, and knows one leading dimension.
        return self.policy._pi_aloha_encode_actions(real.flatten(0, -3).clone()).view(real.shape)

    def target(self, action: Float[Tensor, "*b h o"]) -> Float[Tensor, "*b h a"]:
        if not self.policy.config.adapt_to_pi_aloha:
            return action
        return self.policy._pi_aloha_encode_actions_inv(action.flatten(0, -3).clone()).view(action.shape)

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        # LeRobot's ALOHA conversion writes into the state it is given: hand it a copy.
        return super().stock_chunk({**batch, OBS_STATE: batch[OBS_STATE].clone()}, noise)

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        model = self.policy.model
        # LeRobot's ALOHA conversion writes into state and actions: hand it copies.
        own = {key: batch[key].clone() for key in (OBS_STATE, ACTION)}
        with watched(model.action_in_proj, model.action_out_proj) as seen:
            loss, _ = self.policy.forward({**batch, **own, "action_is_pad": None}, noise, t)
        return StockForward(seen.read, seen.answered, loss)

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        batch = self.policy._prepare_batch({**batch, OBS_STATE: batch[OBS_STATE].clone()})
        return self.policy.model.sample_actions(*self._inputs(batch), noise=noise)

    def stock_losses(
        self,
        batch: Batch,
        action: Float[Tensor, "b h d"],
        noise: Float[Tensor, "b h d"],
        t: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b h d"]:
        return self.policy.model.forward(*self._inputs(batch), action, noise, t)

    def stock_prefix(self) -> tuple[object, str]:
        return self.policy.model, "embed_prefix"

    def _inputs(self, batch: Batch) -> tuple[Any, ...]:
        images, masks = self.policy.prepare_images(batch)
        words = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        return images, masks, *words, self.policy.prepare_state(batch)

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self.policy.model.action_in_proj.weight]

    def counted(self) -> nn.Module:
        return self.policy.model.action_out_proj

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = self.policy.model.action_in_proj
        return layer, layer.bias


def _check_aloha(config: SmolVLAConfig) -> None:
    state, action = config.robot_state_feature, config.action_feature
    widths = 0 if state is None else state.shape[0], action.shape[0]
    if min(widths) < ALOHA_JOINTS:
        raise UserError(
            f"adapt_to_pi_aloha=True in the policy's config.json, with {widths[0]} values of state and {widths[1]} "
            f"of action; LeRobot's conversion is that of ALOHA's {ALOHA_JOINTS} joints, and fails for fewer: set it "
            "to false for another robot"
        )
