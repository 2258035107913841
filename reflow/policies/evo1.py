"""EVO-1 as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is InternVL over images and words, and the state as one more token; ``velocity`` is the action head. Its
time runs from noise at 0 to data at 1, in a thousand buckets, and is turned round here. Its noise is uniform on
(-1, 1), and its padding is masked in the noise, at every step, and in the end.

LeRobot trains it at times of 0.02 to 0.98 (its own), so that the bucket of pure noise, where inference begins, was
never trained: a one-step student is the first to learn it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Bool, Float, Int
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy
from torch import Tensor, nn

from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import (
    CONTEXT,
    VISION,
    ActionBias,
    FreezablePrefix,
    StockCheck,
    StockForward,
    StorablePrefix,
    Tensors,
)
from reflow.policies.groups import encodes_with_gradient
from reflow.policies.watch import watched

BUCKETS = 1000
_EYE = "policy.model.embedder."
_PREFIXES = {
    "vision": (f"{_EYE}model.vision_tower.", f"{_EYE}model.multi_modal_projector."),
    "language": (_EYE,),
    "state_encoder": ("policy.model.action_head.state_encoder.",),
}


@dataclass(frozen=True)
class Evo1Context:
    """An encoded observation.

    Attributes:
        tokens: of vision, language and state.
        ignored: True where a token is none; None where every token is one.
        embodiment: which of the embodiments' weights are meant.
    """

    tokens: Float[Tensor, "b s w"]
    ignored: Bool[Tensor, "b s"] | None
    embodiment: Int[Tensor, " b"]

    def repeat(self, draws: int) -> Evo1Context:
        """The context with every observation ``draws`` times in a row."""
        if draws == 1:
            return self
        many = functools.partial(torch.repeat_interleave, repeats=draws, dim=0)
        ignored = None if self.ignored is None else many(self.ignored)
        return Evo1Context(many(self.tokens), ignored, many(self.embodiment))


class Evo1Flow(FlowPolicy[Evo1Context], StorablePrefix[Evo1Context], ActionBias, FreezablePrefix, StockCheck):
    """Adapter for ``lerobot.policies.evo1``."""

    policy: Evo1Policy
    backbones = {"vlm_model_name": "vlm"}
    wants_backbone_weights = True
    steps_field = "num_inference_timesteps"
    prefixes = _PREFIXES
    masks_padding = True
    vision_groups = ("vision",)

    def step_holders(self) -> Sequence[Any]:
        return self._head, self.policy.config  # the head's is a copy

    @property
    def _head(self) -> Any:
        return self.policy.model.action_head

    @property
    def _eye(self) -> Any:
        return self.policy.model.embedder

    def vision_features(self, batch: Batch) -> Tensors:
        images, masks = self.policy._collect_image_batches(batch)
        seen: list[Tensor] = []

        def keep(pixels: Tensor, views: Any, *_: Any) -> tuple[Tensor, None]:
            found = self._eye.model.get_image_features(pixel_values=pixels, return_dict=True).pooler_output
            seen.append(found.unflatten(0, (len(views), -1)))
            return found, None

        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            self.policy._maybe_autocast(),
            patch.object(self._eye, "_forward_vlm", keep),  # LeRobot's own way to the pixels, up to there
        ):
            self._eye.get_fused_image_text_embedding_batched(images, masks, [""] * len(masks))
        return {"features": seen[0], "masks": masks}

    def encode(self, batch: Batch) -> Evo1Context:
        if CONTEXT in batch:
            return self.unpack(batch[CONTEXT])
        policy, eye = self.policy, self._eye
        vision = batch[VISION] if VISION in batch else self.vision_features(batch)
        features = vision["features"].to(eye.model_dtype)
        seen = SimpleNamespace(pooler_output=features.flatten(0, 1))
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            policy._maybe_autocast(),
            patch.object(
                eye.model, "get_image_features", lambda *_, **__: seen
            ),  # it would encode images itself
        ):
            count, views = features.shape[:2]
            tokens, there = eye._forward_vlm(
                features.new_zeros(count * views, 3, 1, 1),  # looked at by nobody
                [[1] * views] * count,
                vision["masks"].bool(),
                policy._normalize_task_batch(batch),
                policy.config.return_cls_only,
            )
            state, _ = policy._prepare_state(batch)
            embodiment = policy._get_embodiment_ids(batch, count)
            tokens = tokens.to(policy._compute_dtype)
            return Evo1Context(*self._head._prepare_context(tokens, state, embodiment, there))

    def pack(self, context: Evo1Context) -> Tensors:
        tokens = context.tokens
        real = tokens.new_ones(tokens.shape[:2], dtype=torch.bool)
        if context.ignored is not None:
            real = ~context.ignored
        return {"tokens": tokens, "pad_masks": real, "embodiment": context.embodiment[:, None]}

    def unpack(self, tensors: Tensors) -> Evo1Context:
        ignored = ~tensors["pad_masks"].bool()
        if self.policy.config.return_cls_only:  # two tokens, never padded: LeRobot has no mask then
            return Evo1Context(tensors["tokens"].float(), None, tensors["embodiment"][:, 0].long())
        return Evo1Context(tensors["tokens"].float(), ignored, tensors["embodiment"][:, 0].long())

    def velocity(
        self, context: Evo1Context, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        head, many, mask = self._head, context.repeat(x_t.shape[1]), self._mask(x_t)
        # LeRobot rounds a time down to its bucket; turned round, a time may come out a little below where it was.
        bucket = ((1 - t.flatten()) * (BUCKETS - 1) + 1e-4).long().clamp(0, BUCKETS - 1)
        with self.policy._maybe_autocast():
            # Between its layers LeRobot keeps what it computes as precise as its weights, in mixed precision too.
            tokens = many.tokens.to(head.dtype)
            time = head.time_pos_enc(BUCKETS)[0, bucket].to(head.dtype)
            hidden = head._project_actions((x_t * mask).flatten(0, 1), many.embodiment).to(head.dtype)
            for block in head.transformer_blocks:
                hidden = block(hidden, tokens, time, many.ignored)
            hidden = head.norm_out(hidden)
            pooled = head.seq_pool_proj(hidden.flatten(1)) if head.horizon > 1 else hidden[:, 0]
            v_t = head.mlp_head(pooled, many.embodiment)
        return -v_t.view(x_t.shape).to(x_t.dtype) * mask

    def base_noise(self, randn: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h d"]:
        uniform = torch.special.erf(randn / 2**0.5)
        # What 2 * torch.rand(...) - 1 can give are multiples of 2^-23: as (noise + 1) / 2, none of them is rounded.
        return (uniform * 2**23).round() / 2**23 * self._mask(randn)

    def _mask(self, like: Tensor) -> Float[Tensor, " d"]:
        """1 on real dimensions, 0 on padding."""
        mask = like.new_zeros(self.space.max_action_dim)
        mask[: self.space.action_dim] = 1
        return mask

    def output(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h o"]:
        return endpoint  # its postprocessor cuts

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        with patch("torch.rand", lambda *_, **__: (noise.flatten(1) + 1) / 2):  # it draws inside
            return self.policy.predict_action_chunk(dict(batch))

    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        return self.stock_chunk(batch, noise)

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        head = self._head
        reads = head.single_action_proj if head.action_encoder is None else head.action_encoder
        times = SimpleNamespace(sample=lambda *_: 1 - t)
        with (
            patch("torch.distributions.Beta", lambda *_: times),
            patch("torch.rand_like", lambda *_, **__: (noise + 1) / 2),
            watched(reads, head.mlp_head) as seen,
        ):
            loss, _ = self.policy.forward(dict(batch))
        v_t = -seen.answered.view(seen.read.shape) * self._mask(seen.read)  # masked only in LeRobot's loss
        return StockForward(seen.read, v_t, loss)

    def counted(self) -> nn.Module:
        return self._head.mlp_head

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = getattr(
            self._head.action_encoder.W1, "linear", self._head.action_encoder.W1
        )  # one embodiment or several
        return layer, layer.bias
