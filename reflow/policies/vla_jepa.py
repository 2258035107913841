"""VLA-JEPA as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is Qwen3-VL over images and words, of which the hidden states of the embodied-action tokens are kept;
``velocity`` is the action head, the state being one more token of its own. Its time runs from noise at 0 to data at
1, in buckets, and is turned round here. Nothing is padded.

LeRobot trains Qwen with a second loss, by which it foresees the video (``enable_world_model``). No action depends on
that model: a student carries it along, frozen, and looks at no frame after now.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lerobot.policies.vla_jepa.modeling_vla_jepa import VLAJEPAPolicy, _get_autocast_context
from torch import Tensor, nn

from reflow.flow import ActionSpace
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

_MODEL = "policy.model."
_QWEN = f"{_MODEL}qwen."
_LANGUAGE = f"{_QWEN}model.model.language_model."
_PREFIXES = {
    "vision": (f"{_QWEN}model.model.visual.",),
    "words_out": (f"{_LANGUAGE}norm.", f"{_QWEN}model.lm_head."),
    "language": (_LANGUAGE,),
    "world_model": (f"{_MODEL}video_encoder.", f"{_MODEL}video_predictor."),
}


@dataclass(frozen=True)
class VLAJEPAContext:
    """An encoded observation.

    Attributes:
        tokens: hidden states of the embodied-action tokens.
        state: normalised; None of a robot without.
    """

    tokens: Float[Tensor, "b s w"]
    state: Float[Tensor, "b 1 p"] | None

    def repeat(self, draws: int) -> VLAJEPAContext:
        """The context with every observation ``draws`` times in a row."""
        if draws == 1:
            return self
        state = None if self.state is None else self.state.repeat_interleave(draws, 0)
        return VLAJEPAContext(self.tokens.repeat_interleave(draws, 0), state)


class VLAJEPAFlow(
    FlowPolicy[VLAJEPAContext], StorablePrefix[VLAJEPAContext], ActionBias, FreezablePrefix, StockCheck
):
    """Adapter for ``lerobot.policies.vla_jepa``."""

    policy: VLAJEPAPolicy
    backbones = {"qwen_model_name": "qwen", "jepa_encoder_name": "vjepa"}
    wants_backbone_weights = True
    steps_field = "num_inference_timesteps"
    # What comes after Qwen's last layer, and the world model, no action reads.
    prefixes = _PREFIXES
    vision_groups = ("vision",)

    @property
    def space(self) -> ActionSpace:
        """Nothing is padded."""
        width = self.policy.config.action_feature.shape[0]
        return ActionSpace(width, width, self.policy.config.chunk_size)

    def step_holders(self) -> Sequence[Any]:
        """The head's is a copy."""
        return self._head, self.policy.config

    @property
    def _head(self) -> Any:
        return self.policy.model.action_model

    def vision_features(self, batch: Batch) -> Tensors:
        """What Qwen's eye makes of the cameras, at its end and on the way there; and how many patches they are."""
        model = self.policy.model
        seen = self.policy._prepare_model_inputs(dict(batch), training=False)
        size = len(seen["images"])
        inputs = model.qwen.build_inputs(self._resized(seen["images"]), [""] * size, "", "")
        grid = inputs["image_grid_thw"]
        with (
            torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)),
            _get_autocast_context(grid.device.type),
        ):
            out = model.qwen.model.model.get_image_features(inputs["pixel_values"], grid, return_dict=True)
        features = torch.stack([torch.cat(out.pooler_output), *out.deepstack_features], 1)
        return {"features": features.unflatten(0, (size, -1)), "grid": grid.unflatten(0, (size, -1))}

    def encode(self, batch: Batch) -> VLAJEPAContext:
        """As LeRobot's inference encodes; under ``resize_images_to`` its training does not resize."""
        if CONTEXT in batch:
            return self.unpack(batch[CONTEXT])
        model, vision = self.policy.model, batch.get(VISION)
        eye: AbstractContextManager[None] = nullcontext()
        if vision is None:
            seen = self.policy._prepare_model_inputs(dict(batch), training=False)
            seen["images"] = self._resized(seen["images"])
        else:
            eye = _features_for_images(model.qwen.model.model, vision["features"])
            seen = self.policy._prepare_model_inputs({**batch, **self._blank(vision)}, training=False)
        with eye, torch.set_grad_enabled(torch.is_grad_enabled() and encodes_with_gradient(self)):
            tokens, _ = model._encode_qwen(seen["images"], seen["instructions"], need_action_tokens=False)
        state = seen.get("state")
        return VLAJEPAContext(tokens.float(), None if state is None else state.float())

    def _resized(self, images: list[list[Tensor]]) -> list[list[Tensor]]:
        size = self.policy.config.resize_images_to
        if size is None:
            return images
        return [
            [F.interpolate(view[None], size=tuple(size), mode="area")[0] for view in views]
            for views in images
        ]

    def _blank(self, vision: Tensors) -> Batch:
        """Pictures that Qwen cuts into as many patches: it counts those, and makes as many words of them."""
        side, (count, _) = (
            self.policy.model.qwen.processor.image_processor.patch_size,
            vision["grid"].shape[:2],
        )
        # One observation's grids are every observation's: a camera has one size.
        sizes = [(side * high, side * wide) for _, high, wide in vision["grid"][0].long().tolist()]
        cameras = zip(self.policy.config.image_features, sizes, strict=True)
        return {key: vision["features"].new_zeros(count, 3, *size) for key, size in cameras}

    def pack(self, context: VLAJEPAContext) -> Tensors:
        """Tokens and state, each as a prefix."""
        state = {} if context.state is None else {"state": context.state}
        return {"tokens": context.tokens, **state}

    def unpack(self, tensors: Tensors) -> VLAJEPAContext:
        """The same again: there are always as many tokens, and one state."""
        count = self.policy.config.num_embodied_action_tokens_per_instruction
        state = tensors["state"][:, :1].float() if "state" in tensors else None
        return VLAJEPAContext(tensors["tokens"][:, :count].float(), state)

    def velocity(
        self, context: VLAJEPAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """The action head's, at its own time, turned round."""
        head, many, x = self._head, context.repeat(x_t.shape[1]), x_t.flatten(0, 1)
        # LeRobot rounds a time down to its bucket; turned round, a time may come out a little below where it was.
        bucket = ((1 - t.flatten()) * head.config.action_num_timestep_buckets + 1e-3).long()
        hidden = head._build_inputs(many.tokens, x, many.state, bucket)
        hidden = head.model(hidden_states=hidden, encoder_hidden_states=many.tokens, timestep=bucket)
        v_t = head.action_decoder(hidden[:, -x.shape[1] :])
        return -v_t.to(x_t.dtype).unflatten(0, x_t.shape[:2])

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """``predict_action_chunk`` ignores the noise that it is given, and draws inside."""
        with patch("torch.randn", lambda *_, **__: noise.clone()):
            return self.policy.predict_action_chunk(dict(batch))

    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """The chunk itself: nothing is cut."""
        return self.stock_chunk(batch, noise)

    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        """Of LeRobot's two losses the one over actions, drawn once; it draws every chunk several times over."""
        head, config = self._head, self.policy.config
        with (
            patch.multiple(config, enable_world_model=False, repeated_diffusion_steps=1),
            patch.object(head, "sample_time", lambda *_: 1 - t),
            patch("torch.randn_like", lambda *_, **__: noise.clone()),
            watched(head.action_encoder, head.action_decoder) as seen,
        ):
            loss, _ = self.policy.forward(dict(batch))
        return StockForward(seen.read, -seen.answered, loss)

    def counted(self) -> nn.Module:
        """The action head's last layers."""
        return self._head.action_decoder

    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        """The first layer that noisy actions meet."""
        layer: Any = self._head.action_encoder.layer1
        return layer, layer.bias


@contextmanager
def _features_for_images(model: Any, features: Float[Tensor, "b n l w"]) -> Iterator[None]:
    """Qwen encodes images by itself; in here it takes vision features in their place."""
    first, *deeper = features.flatten(0, 1).unbind(1)
    model.get_image_features = lambda *_, **__: SimpleNamespace(
        pooler_output=(first,), deepstack_features=[layer.to(model.visual.dtype) for layer in deeper]
    )
    try:
        yield
    finally:
        del model.get_image_features
