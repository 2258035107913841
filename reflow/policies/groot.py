"""GR00T N1.7 as ``encode`` and ``velocity``, built from LeRobot's own parts.

It counts time the other way (0 noise, 1 action), in a thousand whole buckets; the adapter turns it round. Weights at
both ends of its action head are one set per embodiment.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from lerobot.policies.groot.modeling_groot import GrootPolicy
from lerobot.utils.constants import ACTION
from torch import Tensor, nn

from reflow.flow import ActionSpace
from reflow.policies.backbones import stand_in_weights
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.capabilities import FreezablePrefix, PaddingInputs, StockCheck, StockForward
from reflow.policies.groups import encodes_with_gradient

_MODEL = "policy._groot_model."
_GROUPS = {
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


class GrootFlow(FlowPolicy[GrootContext], FreezablePrefix, PaddingInputs, StockCheck):
    """Adapter for ``lerobot.policies.groot``."""

    policy: GrootPolicy
    backbones = {"base_model_path": "base"}  # noqa: RUF012  (declared a ClassVar by the base)
    normalizers = ("groot_n1_7_pack_inputs_v1", "groot_action_unpack_unnormalize_v2")
    runtime = {"model_params_fp32": True}  # noqa: RUF012  (likewise; steps of training are lost in bfloat16)

    @property
    def space(self) -> ActionSpace:
        return ActionSpace(
            self.policy.config.action_feature.shape[0], self._head.action_dim, self._head.action_horizon
        )

    @property
    def num_steps(self) -> int:
        return self._head.num_inference_timesteps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        # The head holds a copy; null in config.json means the number baked into the base model.
        for holder in (self._head, self._head.config, self.policy._groot_model.config, self.policy.config):
            holder.num_inference_timesteps = value

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
        """Pixels come one row a patch, of all images one after the other."""
        pixels, grid = batch["pixel_values"], batch["image_grid_thw"]
        rest = {key: value for key, value in batch.items() if key not in ("pixel_values", "image_grid_thw")}
        grid = grid[: count * (len(grid) // size)]
        images = {"pixel_values": pixels[: int(grid.prod(-1).sum())], "image_grid_thw": grid}
        return super().rows(rest, size, count) | images

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
        head, seen = self._head, list[Tensor]()
        narrow = batch[ACTION].shape[-1] < self.space.max_action_dim
        hooks = (
            head.action_encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
            head.action_decoder.register_forward_hook(lambda _, inputs, output: seen.append(output)),
        )
        head.sample_time = lambda *_, **__: 1 - t
        try:
            with _draws(noise):
                loss, _ = self.policy.forward(
                    {**batch, **self._packed(batch[ACTION])} if narrow else dict(batch)
                )
        finally:
            del head.sample_time
            for hook in hooks:
                hook.remove()
        x_t, towards = seen
        return StockForward(x_t, -towards[:, -batch[ACTION].shape[1] :], loss)

    def _packed(self, action: Float[Tensor, "b h a"]) -> dict[str, Tensor]:
        """Actions as its preprocessor packs them: at native width, and which of them count."""
        wide = (0, self.space.padding_dim)
        return {ACTION: F.pad(action, wide), "action_mask": F.pad(torch.ones_like(action), wide)}

    def counted(self) -> nn.Module:
        return self._head.action_decoder

    def action_inputs(self) -> Sequence[nn.Parameter]:
        return [self._head.action_encoder.W1.W]  # [embodiments, in, out]

    def prefix_groups(self) -> dict[str, list[str]]:
        return self._prefix_groups

    @functools.cached_property
    def _prefix_groups(self) -> dict[str, list[str]]:  # asked at every step, and always the same
        names = [name for name, _ in self.named_parameters()]
        groups = {
            group: [name for name in names if name.startswith(starts)] for group, starts in _GROUPS.items()
        }
        return {group: found for group, found in groups.items() if found}

    def complete_folder(self, folder: Path) -> None:
        """LeRobot builds the model from its base's folder, and wants weights there before it loads its own."""
        if (folder / "base").is_dir():
            stand_in_weights(folder / "base")


@contextlib.contextmanager
def _draws(noise: Tensor) -> Iterator[None]:
    """LeRobot's head draws its noise by ``torch.randn``; in here it draws this."""
    with patch("torch.randn", lambda *_, **__: noise.clone()):
        yield
