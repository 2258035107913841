"""pi0 and pi05 as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is the first half of LeRobot's ``sample_actions`` (prefix embedding and the pass that fills the key/value
cache), ``velocity`` is its ``denoise_step``. The two policies differ in where state and time go in: pi0 embeds the
state as a token of its action expert and mixes the time into the actions, pi05 reads the state as words and lets the
time modulate the expert's norms (adaRMS).

Their time convention (t=1 noise, t=0 action, u = noise - action) is already ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Float
from lerobot.policies.common.vla_utils import make_att_2d_masks, prepare_attention_masks_4d
from lerobot.policies.pi0.modeling_pi0 import PI0Policy
from lerobot.policies.pi05.modeling_pi05 import PI05Policy
from lerobot.utils.constants import OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS
from torch import Tensor, nn

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
)
from reflow.policies.groups import encodes_with_gradient
from reflow.policies.pi.context import PiContext
from reflow.policies.watch import watched

_PALIGEMMA = "policy.model.paligemma_with_expert.paligemma."
_PREFIXES = {
    "vision": (f"{_PALIGEMMA}model.vision_tower.", f"{_PALIGEMMA}model.multi_modal_projector."),
    "language": (f"{_PALIGEMMA}model.language_model.",),
    # Heads over words, of which no action is made: 263 and 527 million parameters at the real size.
    "unused": (f"{_PALIGEMMA}lm_head.", "policy.model.paligemma_with_expert.gemma_expert.lm_head."),
}


class PiFlow[PolicyT: (PI0Policy, PI05Policy)](
    FlowPolicy[PiContext],
    StorablePrefix[PiContext],
    ActionBias,
    FreezablePrefix,
    PaddingInputs,
    StockTraining,
):
    """What the adapters of ``lerobot.policies.pi0`` and ``lerobot.policies.pi05`` share."""

    policy: PolicyT
    # A step of the usual size is lost in bfloat16, so weights are float32 here.
    runtime = {"dtype": "float32"}
    prefixes = _PREFIXES
    stock_groups = (VELOCITY, "vision", "language")
    vision_groups = ("vision",)

    def vision_features(self, batch: Batch) -> Tensors:
        images, masks = self.policy._preprocess_images(batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            features = [self.policy.model.paligemma_with_expert.embed_image(image) for image in images]
        return {"features": torch.stack(features, 1), "masks": torch.stack(masks, 1)}

    def encode(self, batch: Batch) -> PiContext:
        if CONTEXT in batch:
            return self.unpack(batch[CONTEXT])
        model = self.policy.model
        both = model.paligemma_with_expert
        vision = _as_live(batch[VISION]) if VISION in batch else self.vision_features(batch)
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            # LeRobot's embed_prefix encodes images by itself; it is handed vision features in their place.
            patch.object(both, "embed_image", lambda features: features),
        ):
            embeddings, pad_masks, attention_masks = model.embed_prefix(
                vision["features"].unbind(1),
                vision["masks"].unbind(1),
                batch[OBS_LANGUAGE_TOKENS],
                batch[OBS_LANGUAGE_ATTENTION_MASK],
            )
            # As LeRobot does before every prefix pass: the masks that it makes are for this attention.
            both.paligemma.model.language_model.config._attn_implementation = "eager"
            _, cache = both.forward(
                attention_mask=prepare_attention_masks_4d(make_att_2d_masks(pad_masks, attention_masks)),
                position_ids=torch.cumsum(pad_masks, dim=1) - 1,
                past_key_values=None,
                inputs_embeds=[embeddings, None],
                use_cache=True,
            )
        return PiContext(pad_masks, layers_of(cache), *self._state(batch) or (None,))

    def _state(self, batch: Batch) -> tuple[Float[Tensor, "b w"], ...]:
        """What the action expert embeds of the state: one tensor, or none."""
        return ()

    def pack(self, context: PiContext) -> Tensors:
        keys, values = (
            torch.stack([layer[which].transpose(1, 2) for layer in context.layers], 2) for which in (0, 1)
        )
        packed = {"keys": keys, "values": values, "pad_masks": context.pad_masks}
        return packed if context.state is None else packed | {"state": context.state[:, None]}

    def unpack(self, tensors: Tensors) -> PiContext:
        layers = zip(
            *(tensors[name].float().permute(2, 0, 3, 1, 4).unbind(0) for name in ("keys", "values")),
            strict=True,
        )
        state = tensors["state"][:, 0].float() if "state" in tensors else None
        return PiContext(tensors["pad_masks"].bool(), tuple(layers), state)

    def velocity(
        self, context: PiContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        repeated = context.repeat(x_t.shape[1])
        state = {} if repeated.state is None else {"state": repeated.state}
        v_t = self.policy.model.denoise_step(
            **state,
            prefix_pad_masks=repeated.pad_masks,
            past_key_values=repeated.entries(),
            x_t=x_t.flatten(0, 1),
            timestep=t.flatten(0, 1),
        )
        # Under autocast the last layer answers in 16 bits; the state that it moves stays what it is.
        return v_t.to(x_t.dtype).unflatten(0, x_t.shape[:2])

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        model = self.policy.model
        with (
            patch.multiple(model, sample_noise=lambda *_: noise, sample_time=lambda *_: t),  # it draws inside
            watched(model.action_in_proj, model.action_out_proj) as seen,
        ):
            loss, _ = self.policy.forward(batch)
        return StockForward(seen.read, seen.answered, loss)

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        return self.policy.model.sample_actions(*self._inputs(batch), noise=noise)

    def stock_losses(
        self,
        batch: Batch,
        action: Float[Tensor, "b h d"],
        noise: Float[Tensor, "b h d"],
        t: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b h d"]:
        model = self.policy.model
        times = model.sample_time(len(action), action.device) if t is None else t
        return model.forward(*self._inputs(batch), action, noise, times)

    def stock_prefix(self) -> tuple[object, str]:
        return self.policy.model, "embed_prefix"

    def _inputs(self, batch: Batch) -> tuple[Any, ...]:
        images, masks = self.policy._preprocess_images(batch)
        tokens, attention = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        return images, masks, tokens, attention, *self._state(batch)

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self.policy.model.action_in_proj.weight]

    def counted(self) -> nn.Module:
        return self.policy.model.action_out_proj

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = self.policy.model.action_in_proj
        return layer, layer.bias


class Pi0Flow(PiFlow[PI0Policy]):
    """Adapter for ``lerobot.policies.pi0``."""

    def _state(self, batch: Batch) -> tuple[Float[Tensor, "b w"], ...]:
        return (self.policy.prepare_state(batch),)


class Pi05Flow(PiFlow[PI05Policy]):
    """Adapter for ``lerobot.policies.pi05``; its processor has turned the state into words."""


def _as_live(vision: Tensors) -> Tensors:
    return {"features": vision["features"].float(), "masks": vision["masks"].bool()}
