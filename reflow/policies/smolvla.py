"""SmolVLA as ``encode`` and ``velocity``, built from LeRobot's own parts.

``encode`` is the first half of LeRobot's ``VLAFlowMatching.sample_actions`` (prefix embedding and the
pass that fills the key/value cache), ``velocity`` is its ``denoise_step``. Against the training
``forward`` of the same class, loss and gradient differ by exactly zero in float32.

SmolVLA's time convention (t=1 noise, t=0 action, u = noise - action) is already ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy, make_att_2d_masks
from lerobot.utils.constants import ACTION, OBS_LANGUAGE_ATTENTION_MASK, OBS_LANGUAGE_TOKENS, OBS_STATE
from torch import Tensor, nn
from transformers.cache_utils import DynamicCache, DynamicLayer

from reflow.flow import ActionSpace
from reflow.policies.base import Batch, FlowPolicy


@dataclass(frozen=True)
class SmolVLAContext:
    """An encoded observation: which prefix tokens count, and each layer's keys and values.

    Attributes:
        pad_masks: True where a prefix token is real.
        layers: per layer keys and values, each ``[b, heads, s, head_dim]``.
    """

    pad_masks: Bool[Tensor, "b s"]
    layers: tuple[tuple[Float[Tensor, "b n s c"], Float[Tensor, "b n s c"]], ...]
    _repeated: dict[int, SmolVLAContext] = field(default_factory=dict, repr=False, compare=False)

    def repeat(self, draws: int) -> SmolVLAContext:
        """The context with every observation ``draws`` times in a row; built once per ``draws``."""
        if draws == 1:
            return self
        if draws not in self._repeated:
            self._repeated[draws] = SmolVLAContext(
                self.pad_masks.repeat_interleave(draws, 0),
                tuple((k.repeat_interleave(draws, 0), v.repeat_interleave(draws, 0)) for k, v in self.layers),
            )
        return self._repeated[draws]

    def cache(self) -> DynamicCache:
        """A cache of its own around the shared tensors.

        ``denoise_step`` appends to a cache and crops it again, which would leave the tensors of one
        call's autograd graph behind for the next; a fresh container per call costs nothing.
        """
        cache = DynamicCache()
        for keys, values in self.layers:
            layer = DynamicLayer()
            layer.lazy_initialization(keys, values)
            layer.keys, layer.values = keys, values
            cache.layers.append(layer)
        return cache


class SmolVLAFlow(FlowPolicy[SmolVLAContext]):
    """Adapter for ``lerobot.policies.smolvla``."""

    policy: SmolVLAPolicy

    def __init__(self, policy: SmolVLAPolicy) -> None:
        if not policy.config.use_cache:
            raise ValueError(
                "use_cache=False in the policy's config.json: the prefix could not be shared between "
                "steps; set it to true (the results are the same)"
            )
        super().__init__(policy)

    @property
    def space(self) -> ActionSpace:
        config = self.policy.config
        return ActionSpace(config.action_feature.shape[0], config.max_action_dim, config.chunk_size)

    @property
    def num_steps(self) -> int:
        return self.policy.config.num_steps

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        config = self.policy.config
        config.num_steps = value
        if config.rtc_config is not None:
            # Real-time chunking saturates its guidance at t=1: with the default weight of 10 a one-step policy
            # lands at ten times the wanted correction. The weight that fits is the number of steps.
            config.rtc_config.max_guidance_weight = float(value)

    def encode(self, batch: Batch) -> SmolVLAContext:
        policy, model = self.policy, self.policy.model
        # LeRobot's ALOHA conversion writes into the state it is given: hand it a copy.
        batch = policy._prepare_batch({**batch, OBS_STATE: batch[OBS_STATE].clone()})
        images, image_masks = policy.prepare_images(batch)
        state = policy.prepare_state(batch)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.encodes_with_gradient()):
            embeddings, pad_masks, attention_masks = model.embed_prefix(
                images,
                image_masks,
                batch[OBS_LANGUAGE_TOKENS],
                batch[OBS_LANGUAGE_ATTENTION_MASK],
                state=state,
            )
            _, cache = model.vlm_with_expert.forward(
                attention_mask=make_att_2d_masks(pad_masks, attention_masks),
                position_ids=torch.cumsum(pad_masks, dim=1) - 1,
                past_key_values=None,
                inputs_embeds=[embeddings, None],
                use_cache=True,
            )
        return SmolVLAContext(pad_masks, tuple((layer.keys, layer.values) for layer in cache.layers))

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

    @torch.no_grad()
    def stock_velocity(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b h d"], Float[Tensor, "b h d"]]:
        model, seen = self.policy.model, list[Tensor]()
        hooks = (
            model.action_in_proj.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0])),
            model.action_out_proj.register_forward_hook(lambda _, inputs, output: seen.append(output)),
        )
        try:
            # LeRobot's ALOHA conversion writes into state and actions: hand it copies.
            own = {key: batch[key].clone() for key in (OBS_STATE, ACTION)}
            self.policy.forward({**batch, **own, "action_is_pad": None}, noise, t)
        finally:
            for hook in hooks:
                hook.remove()
        x_t, v_t = seen
        return x_t, v_t

    @torch.no_grad()
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        policy = self.policy
        batch = policy._prepare_batch({**batch, OBS_STATE: batch[OBS_STATE].clone()})
        images, image_masks = policy.prepare_images(batch)
        tokens, token_masks = batch[OBS_LANGUAGE_TOKENS], batch[OBS_LANGUAGE_ATTENTION_MASK]
        state = policy.prepare_state(batch)
        return policy.model.sample_actions(images, image_masks, tokens, token_masks, state, noise=noise)

    def prefix_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        for name, parameter in self.named_parameters():
            if ".vlm_with_expert.vlm." in name or ".state_proj." in name:
                yield name, parameter

    def state_projection(self) -> nn.Module:
        return self.policy.model.state_proj

    def action_in_proj(self) -> nn.Linear:
        return self.policy.model.action_in_proj
