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

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from lerobot.policies.eo1.modeling_eo1 import EO1Policy
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from reflow.flow import ActionSpace
from reflow.policies.backbones import stand_in_weights
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import FreezablePrefix, PaddingInputs, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient

_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")
_QWEN = "policy.model.vlm_backbone."
_GROUPS = {
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

    layers: tuple[tuple[Float[Tensor, "b n s c"], Float[Tensor, "b n s c"]], ...]
    there: Bool[Tensor, "b s_plus_h"]
    positions: Int[Tensor, "three b h"]
    _repeated: dict[int, EO1Context] = field(default_factory=dict, repr=False, compare=False)

    def repeat(self, draws: int) -> EO1Context:
        """The context with every observation ``draws`` times in a row; built once per ``draws``."""
        if draws == 1:
            return self
        if draws not in self._repeated:
            self._repeated[draws] = EO1Context(
                tuple((k.repeat_interleave(draws, 0), v.repeat_interleave(draws, 0)) for k, v in self.layers),
                self.there.repeat_interleave(draws, 0),
                self.positions.repeat_interleave(draws, 1),
            )
        return self._repeated[draws]

    def cache(self) -> DynamicCache:
        """A cache of its own around the shared tensors: Qwen appends the chunk to it."""
        cache = DynamicCache()
        for keys, values in self.layers:
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        return cache


class EO1Flow(FlowPolicy[EO1Context], FreezablePrefix, PaddingInputs, StockCheck):
    """Adapter for ``lerobot.policies.eo1``."""

    policy: EO1Policy
    backbones = {"vlm_base": "vlm"}  # noqa: RUF012  (declared a ClassVar by the base)
    # A step of the usual size is lost in bfloat16, so weights are float32 here; with checkpointing there is no cache.
    runtime = {"dtype": "float32", "gradient_checkpointing": False}  # noqa: RUF012  (likewise)

    @classmethod
    def prepare(cls, config: Any, folder: Path) -> None:
        config.pretrained_path = folder  # or LeRobot would load the weights of the bare backbone first

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], config.max_action_dim, config.chunk_size)

    @property
    def num_steps(self) -> int:
        return self.policy.config.num_denoise_steps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        self.policy.config.num_denoise_steps = value

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
        layers = tuple((layer.keys, layer.values) for layer in cache.layers)
        return EO1Context(layers, there[:, :end], positions[..., start:end])

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
        """Pixels come one row a patch, of all images one after the other."""
        pixels, grid = batch["pixel_values"], batch["image_grid_thw"]
        rest = {key: value for key, value in batch.items() if key not in ("pixel_values", "image_grid_thw")}
        grid = grid[: count * (len(grid) // size)]
        images = {"pixel_values": pixels[: int(grid.prod(-1).sum())], "image_grid_thw": grid}
        return super().rows(rest, size, count) | images

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        with _draws(self.policy.model, noise):
            return self.policy.predict_action_chunk(_left_padded(batch))

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        own = _left_padded(batch)
        inputs = self.policy._get_model_inputs(own, {OBS_STATE})
        with _draws(self.policy.model, noise):
            return self.policy.model.sample_actions(
                states=self.policy.prepare_state(own[OBS_STATE]), **inputs
            )

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        model, seen = self.policy.model, list[Tensor]()
        hooks = (
            model.action_in_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
            model.action_out_proj.register_forward_hook(lambda _, inputs, output: seen.append(output)),
        )
        inside = torch.zeros(noise.shape[:2], dtype=torch.bool, device=noise.device)
        try:
            with _draws(model, noise, t):
                loss, _ = self.policy.forward({"action_is_pad": inside, **batch})
        finally:
            for hook in hooks:
                hook.remove()
        x_t, v_t = seen
        return StockForward(x_t, v_t.reshape(x_t.shape), loss)

    def counted(self) -> nn.Module:
        return self.policy.model.action_out_proj

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self.policy.model.action_in_proj.weight]

    def prefix_groups(self) -> dict[str, list[str]]:
        """All but the flow head. ``velocity`` reads the trunk, too: trained, it changes both."""
        return self._prefix_groups

    @functools.cached_property
    def _prefix_groups(self) -> dict[str, list[str]]:  # asked at every step, and always the same
        rest, groups = [name for name, _ in self.named_parameters()], dict[str, list[str]]()
        for group, starts in _GROUPS.items():
            groups[group] = [name for name in rest if name.startswith(starts)]
            rest = [name for name in rest if not name.startswith(starts)]
        return groups

    def complete_folder(self, folder: Path) -> None:
        """Where nobody tells LeRobot the policy's path, it loads the backbone before it loads the policy over it."""
        if (folder / "vlm").is_dir():
            stand_in_weights(folder / "vlm")


def _left_padded(batch: Batch) -> Batch:
    """The batch with its prompts padded on the left, so that all chunks begin at one place; without actions."""
    there = batch["attention_mask"]
    last = there.shape[1] - 1 - there.flip(1).long().argmax(1)
    shift = (there.shape[1] - 1 - last)[:, None]
    place = (torch.arange(there.shape[1], device=there.device) - shift) % there.shape[1]
    moved = {name: batch[name].gather(1, place) for name in _TOKENS}
    return {key: value for key, value in batch.items() if key not in (ACTION, "action_is_pad")} | moved


@contextlib.contextmanager
def _draws(model: Any, noise: Tensor, t: Tensor | None = None) -> Iterator[None]:
    """LeRobot's model draws noise and times by itself; in here it draws these."""
    model.sample_noise, model.sample_time = lambda *_: noise.clone(), lambda *_: t
    try:
        yield
    finally:
        del model.sample_noise, model.sample_time
