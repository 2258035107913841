"""GR00T N1.7 as ``encode`` and ``velocity``, built from LeRobot's own parts.

It counts time the other way (0 noise, 1 action), in a thousand whole buckets; the adapter turns it round. Weights at
both ends of its action head are one set per embodiment.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from lerobot.policies.groot.modeling_groot import GrootPolicy
from lerobot.utils.constants import ACTION
from torch import Tensor, nn

from reflow.flow import ActionSpace
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import ActionBias, FreezablePrefix, PaddingInputs, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient
from reflow.policies.patches import split_pixels
from reflow.policies.watch import watched

_MODEL = "policy._groot_model."
_PREFIXES = {
    "vlm": (f"{_MODEL}backbone.",),
    "features": (f"{_MODEL}action_head.vlln.", f"{_MODEL}action_head.vl_self_attention."),
    "state_encoder": (f"{_MODEL}action_head.state_encoder.",),
}


@dataclass(frozen=True)
class GrootContext:
    """An encoded observation: what the action head attends to.

    Attributes:
        features: of images and words.
        state: its one token.
        images: True where a token is an image's.
        there: True where a token is one, and no padding.
        embodiment: which robot's weights.
    """

    features: Float[Tensor, "b s w"]
    state: Float[Tensor, "b 1 c"]
    images: Bool[Tensor, "b s"]
    there: Bool[Tensor, "b s"]
    embodiment: Int[Tensor, " b"]

    def repeat(self, draws: int) -> GrootContext:
        """The context with every observation ``draws`` times in a row."""
        if draws == 1:
            return self
        every = (self.features, self.state, self.images, self.there, self.embodiment)
        return GrootContext(*(tensor.repeat_interleave(draws, 0) for tensor in every))


class GrootFlow(FlowPolicy[GrootContext], ActionBias, FreezablePrefix, PaddingInputs, StockCheck):
    """Adapter for ``lerobot.policies.groot``."""

    policy: GrootPolicy
    wants_backbone_weights = True
    steps_field = "num_inference_timesteps"
    prefixes = _PREFIXES
    backbones = {"base_model_path": "base"}
    normalizers = ("groot_n1_7_pack_inputs_v1", "groot_action_unpack_unnormalize_v2")
    runtime = {"model_params_fp32": True}  # steps of training are lost in bfloat16

    @property
    def space(self) -> ActionSpace:
        return ActionSpace(
            self.policy.config.action_feature.shape[0], self._head.action_dim, self._head.action_horizon
        )

    def step_holders(self) -> Sequence[Any]:
        # The head holds a copy; null in config.json means the number baked into the base model.
        return self._head, self._head.config, self.policy._groot_model.config, self.policy.config

    @property
    def _head(self) -> Any:
        return self.policy._groot_model.action_head

    def encode(self, batch: Batch) -> GrootContext:
        model = self.policy._groot_model
        inputs = self.policy._filter_groot_inputs(batch, include_action=False)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            seen, robot = model.prepare_input(inputs)
            seen = model.backbone(seen)
            found = self._head._encode_features(seen, robot)
        return GrootContext(
            found.backbone_features,
            found.state_features,
            seen.image_mask,
            seen.backbone_attention_mask,
            robot.embodiment_id,
        )

    def velocity(
        self, context: GrootContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        # A whole number of buckets that rounding left a hair below it is that number.
        bucket = torch.floor((1 - t) * self._head.num_timestep_buckets + 1e-3).long()
        towards = self._towards(context.repeat(x_t.shape[1]), x_t.flatten(0, 1), bucket.flatten())
        return -towards.unflatten(0, x_t.shape[:2]).to(x_t.dtype)

    def _towards(self, context: GrootContext, x: Tensor, bucket: Tensor) -> Float[Tensor, "b h d"]:
        """The head's own answer: action less noise."""
        head = self._head
        action = head.action_encoder(x, bucket, context.embodiment)
        if head.config.add_pos_embed:
            places = torch.arange(action.shape[1], dtype=torch.long, device=action.device)
            action = action + head.position_embedding(places).unsqueeze(0)
        masks = {"image_mask": context.images, "backbone_attention_mask": context.there}
        hidden = head.model(
            hidden_states=torch.cat((context.state, action), dim=1),
            encoder_hidden_states=context.features,
            timestep=bucket,
            **(masks if head.config.use_alternate_vl_dit else {}),
        )
        return head.action_decoder(hidden, context.embodiment)[:, -x.shape[1] :]

    def walk(
        self, context: GrootContext, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """LeRobot's own grid, in its own direction: its times are whole buckets."""
        steps = self.num_steps if num_steps is None else num_steps
        repeated, x = context.repeat(noise.shape[1]), noise.flatten(0, 1)
        for step in range(steps):
            bucket = int(step / float(steps) * self._head.num_timestep_buckets)
            at = torch.full((len(x),), bucket, device=x.device)
            x = x + (1.0 / steps) * self._towards(repeated, x, at)
        return x.unflatten(0, noise.shape[:2])

    def rows(self, batch: Batch, size: int, count: int) -> Batch:
        pixels, rest = split_pixels(batch, size, count)
        return super().rows(rest, size, count) | pixels

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        with _draws(noise):
            return self.policy.predict_action_chunk(dict(batch))

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        inputs = self.policy._filter_groot_inputs(batch, include_action=False)
        with _draws(noise):
            return self.policy._groot_model.get_action(inputs)["action_pred"]

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        head = self._head
        if batch[ACTION].shape[-1] < self.space.max_action_dim:  # not as its preprocessor packs them
            batch = {**batch, **self._packed(batch[ACTION])}
        with (
            _draws(noise),
            patch.object(head, "sample_time", lambda *_, **__: 1 - t),
            watched(head.action_encoder, head.action_decoder) as seen,
        ):
            loss, _ = self.policy.forward(dict(batch))
        return StockForward(seen.read, -seen.answered[:, -seen.read.shape[1] :], loss)

    def _packed(self, action: Float[Tensor, "b h a"]) -> dict[str, Tensor]:
        """Actions as its preprocessor packs them: at native width, and which of them count."""
        wide = (0, self.space.padding_dim)
        return {ACTION: F.pad(action, wide), "action_mask": F.pad(torch.ones_like(action), wide)}

    def counted(self) -> nn.Module:
        return self._head.action_decoder

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = self._head.action_encoder.W1
        return layer, layer.b

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self._head.action_encoder.W1.W]  # [embodiments, in, out]


@contextlib.contextmanager
def _draws(noise: Tensor) -> Iterator[None]:
    """LeRobot's head draws its noise by ``torch.randn``; in here it draws this."""
    with patch("torch.randn", lambda *_, **__: noise.clone()):
        yield
