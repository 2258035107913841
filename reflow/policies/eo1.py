"""EO-1 as ``encode`` and ``velocity``, built from LeRobot's own parts.

One Qwen2.5-VL is trunk for both: ``encode`` runs it over images, words and the state and keeps every layer's keys and
values, ``velocity`` over the action tokens that follow. So of what ``velocity`` reads, only the flow head is read by
it alone: that is what is trained by default, 0.5 % of the parameters at the real size. To let a student change the
trunk too (``student.trained=[velocity,trunk]``, with ``student.lora=16`` if it shall fit) means that it encodes for
itself, with gradients.

Its time convention (t=1 noise, t=0 action, u = noise - action) is already ours. Its prompts are padded on the left
for inference and on the right in training; here they are always brought to the left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from jaxtyping import Bool, Float, Int
from lerobot.policies.eo1.modeling_eo1 import EO1Policy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache

from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.caches import Layers, cache_around, layers_of, repeated
from reflow.policies.capabilities import ActionBias, FreezablePrefix, PaddingInputs, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient
from reflow.policies.patches import split_pixels
from reflow.policies.watch import watched

_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")
_QWEN = "policy.model.vlm_backbone."
_PREFIXES = {
    "vision": (f"{_QWEN}model.visual.",),
    "words": (f"{_QWEN}model.language_model.embed_tokens.", f"{_QWEN}lm_head."),
    "trunk": (f"{_QWEN}model.language_model.",),
    "state_proj": ("policy.model.state_proj.",),
}


@dataclass(frozen=True)
class EO1Context:
    """An encoded observation: each layer's keys and values of the prompt, and where the actions go on.

    Attributes:
        layers: per layer keys and values, each ``[b, heads, s, head_dim]``.
        there: True where a token of the prompt, or of the chunk, is one.
        positions: of the chunk's tokens in time, height and width.
    """

    layers: Layers
    there: Bool[Tensor, "b s_plus_h"]
    positions: Int[Tensor, "three b h"]
    _repeated: dict[int, EO1Context] = field(default_factory=dict, repr=False, compare=False)

    def repeat(self, draws: int) -> EO1Context:
        """The context with every observation ``draws`` times in a row; built once per ``draws``."""
        if draws == 1:
            return self
        if draws not in self._repeated:
            self._repeated[draws] = EO1Context(
                repeated(self.layers, draws),
                self.there.repeat_interleave(draws, 0),
                self.positions.repeat_interleave(draws, 1),
            )
        return self._repeated[draws]

    def cache(self) -> DynamicCache:
        """A cache of its own around the shared tensors, for one call."""
        return cache_around(self.layers)


class EO1Flow(FlowPolicy[EO1Context], ActionBias, FreezablePrefix, PaddingInputs, StockCheck):
    """Adapter for ``lerobot.policies.eo1``."""

    policy: EO1Policy
    # Where nobody tells LeRobot the policy's path, it loads the backbone before it loads the policy over it.
    wants_backbone_weights = True
    steps_field = "num_denoise_steps"
    prefixes = _PREFIXES  # all but the flow head; velocity reads the trunk, too: trained, it changes both
    backbones = {"vlm_base": "vlm"}
    # A step of the usual size is lost in bfloat16, so weights are float32 here; with checkpointing there is no cache.
    runtime = {"dtype": "float32", "gradient_checkpointing": False}

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        config.pretrained_path = folder  # or LeRobot would load the weights of the bare backbone first

    def encode(self, batch: Batch) -> EO1Context:
        model, batch = self.policy.model, _left_padded(batch)
        qwen = model.vlm_backbone.model
        ids, there, kinds = (batch[name] for name in _TOKENS)
        with torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            embeddings = model.embed_prefix(
                ids,
                states=self.policy.prepare_state(batch[OBS_STATE]),
                state_token_id=batch["state_token_id"],
                action_token_id=batch["action_token_id"],
            )
            grid = batch["image_grid_thw"]
            positions, _ = qwen.get_rope_index(
                ids, image_grid_thw=grid, attention_mask=there, mm_token_type_ids=kinds
            )
            start = int((ids[0] == batch["action_token_id"]).long().argmax())
            end = start + self.policy.config.chunk_size
            cache = qwen(
                input_ids=ids[:, :start],
                attention_mask=there[:, :start],
                position_ids=positions[..., :start],
                inputs_embeds=embeddings[:, :start],
                pixel_values=batch["pixel_values"],
                image_grid_thw=grid,
                mm_token_type_ids=kinds[:, :start],
                use_cache=True,
                return_dict=True,
            ).past_key_values
        return EO1Context(layers_of(cache), there[:, :end], positions[..., start:end])

    def velocity(
        self, context: EO1Context, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        model, repeated = self.policy.model, context.repeat(x_t.shape[1])
        embeddings = model.embed_suffix(t.flatten(0, 1), x_t.flatten(0, 1))
        hidden = model.vlm_backbone.model(
            attention_mask=repeated.there,
            past_key_values=repeated.cache(),
            inputs_embeds=embeddings.to(repeated.layers[0][0].dtype),
            position_ids=repeated.positions,
            use_cache=True,
            return_dict=True,
        ).last_hidden_state
        with model.flow_head_autocast_context():
            v_t = model.action_out_proj(hidden.to(model.action_out_proj.dtype))
        return v_t.reshape(x_t.shape).to(x_t.dtype)

    def rows(self, batch: Batch, size: int, count: int) -> Batch:
        pixels, rest = split_pixels(batch, size, count)
        return super().rows(rest, size, count) | pixels

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        with patch.object(self.policy.model, "sample_noise", lambda *_: noise.clone()):
            return self.policy.predict_action_chunk(_left_padded(batch))

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        own = _left_padded(batch)
        inputs = self.policy._get_model_inputs(own, {OBS_STATE})
        with patch.object(self.policy.model, "sample_noise", lambda *_: noise.clone()):
            return self.policy.model.sample_actions(
                states=self.policy.prepare_state(own[OBS_STATE]), **inputs
            )

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        model = self.policy.model
        inside = torch.zeros(noise.shape[:2], dtype=torch.bool, device=noise.device)
        with (
            patch.multiple(model, sample_noise=lambda *_: noise, sample_time=lambda *_: t),  # it draws inside
            watched(model.action_in_proj, model.action_out_proj) as seen,
        ):
            loss, _ = self.policy.forward({"action_is_pad": inside, **batch})
        return StockForward(seen.read, seen.answered.reshape(seen.read.shape), loss)

    def counted(self) -> nn.Module:
        return self.policy.model.action_out_proj

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        layer: Any = self.policy.model.action_in_proj
        return layer, layer.bias

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self.policy.model.action_in_proj.weight]


def _left_padded(batch: Batch) -> Batch:
    """The batch with its prompts padded on the left, so that all chunks begin at one place; without actions."""
    there = batch["attention_mask"]
    last = there.shape[1] - 1 - there.flip(1).long().argmax(1)
    shift = (there.shape[1] - 1 - last)[:, None]
    place = (torch.arange(there.shape[1], device=there.device) - shift) % there.shape[1]
    moved = {name: batch[name].gather(1, place) for name in _TOKENS}
    return {key: value for key, value in batch.items() if key not in (ACTION, "action_is_pad")} | moved
