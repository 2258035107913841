"""EVO-1 as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is InternVL over images and words, and the state as one more token; ``velocity`` is the action head. Its
time runs from noise at 0 to data at 1, in a thousand buckets, and is turned round here. Its noise is uniform on
(-1, 1), and its padding is masked in the noise, at every step, and in the end.

LeRobot trains it at times of 0.02 to 0.98 (its own), so that the bucket of pure noise, where inference begins, was
never trained: a one-step student is the first to learn it.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Bool, Float, Int
from lerobot.policies.evo1.modeling_evo1 import Evo1Policy
from torch import Tensor, nn

from reflow.flow import ActionSpace
from reflow.policies.backbones import stand_in_weights
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import (
    CONTEXT,
    VISION,
    FreezablePrefix,
    StockCheck,
    StockForward,
    StorablePrefix,
    Tensors,
)
from reflow.policies.groups import encodes_with_gradient

BUCKETS = 1000


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


class Evo1Flow(FlowPolicy[Evo1Context], StorablePrefix[Evo1Context], FreezablePrefix, StockCheck):
    """Adapter for ``lerobot.policies.evo1``."""

    policy: Evo1Policy
    backbones = {"vlm_model_name": "vlm"}  # noqa: RUF012  (declared a ClassVar by the base)
    masks_padding = True
    vision_groups = ("vision",)

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], config.max_action_dim, config.chunk_size)

    @property
    def num_steps(self) -> int:
        return self.policy.config.num_inference_timesteps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        config = self.policy.config
        config.num_inference_timesteps = value
        self._head.num_inference_timesteps = value  # a copy, which is what inference reads
        if config.rtc_config is not None:
            # Real-time chunking saturates its guidance at t=1: the weight that fits is the number of steps.
            config.rtc_config.max_guidance_weight = float(value)

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
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            policy._maybe_autocast(),
            _features_for_images(eye.model, features.flatten(0, 1)),
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
        head, seen = self._head, list[Tensor]()
        reads = head.single_action_proj if head.action_encoder is None else head.action_encoder
        hooks = (
            reads.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
            head.mlp_head.register_forward_hook(lambda _, inputs, output: seen.append(output)),
        )
        times = SimpleNamespace(sample=lambda *_: 1 - t)
        try:
            with (
                patch("torch.distributions.Beta", lambda *_: times),
                patch("torch.rand_like", lambda *_, **__: (noise + 1) / 2),
            ):
                loss, _ = self.policy.forward(dict(batch))
        finally:
            for hook in hooks:
                hook.remove()
        x_t, v_t = seen
        return StockForward(
            x_t, -v_t.view(x_t.shape) * self._mask(x_t), loss
        )  # masked only in LeRobot's loss

    def counted(self) -> nn.Module:
        return self._head.mlp_head

    def prefix_groups(self) -> dict[str, list[str]]:
        return self._prefix_groups

    @functools.cached_property
    def _prefix_groups(self) -> dict[str, list[str]]:  # asked at every step, and always the same
        names = [name for name, _ in self.named_parameters()]
        eye = "policy.model.embedder."
        vision = tuple(f"{eye}model.{part}." for part in ("vision_tower", "multi_modal_projector"))
        return {
            "vision": [name for name in names if name.startswith(vision)],
            "language": [name for name in names if name.startswith(eye) and not name.startswith(vision)],
            "state_encoder": [name for name in names if ".action_head.state_encoder." in name],
        }

    def complete_folder(self, folder: Path) -> None:
        """LeRobot wants a weights file beside the backbone's configuration, although every weight is in ours."""
        if (folder / "vlm").is_dir():
            stand_in_weights(folder / "vlm")


@contextlib.contextmanager
def _features_for_images(model: Any, features: Float[Tensor, "n s w"]) -> Iterator[None]:
    """InternVL encodes images by itself; in here it takes vision features in their place."""
    model.get_image_features = lambda *_, **__: SimpleNamespace(pooler_output=features)
    try:
        yield
    finally:
        del model.get_image_features
