"""SmolVLA's action expert over one prefix for all draws: the fast way to ask for velocities.

LeRobot's ``denoise_step`` needs one copy of the prefix's keys and values per draw, and projects them anew in every
cross-attention layer at every call. Here an observation's prefix is projected once, and the queries of all its
draws attend to that one copy: in cross-attention they are simply more queries; in self-attention the scores against
the prefix and against the draw's own tokens are computed apart and meet in one softmax.

It uses LeRobot's own layers and does what ``SmolVLMWithExpertModel.forward`` does; only the order of rounding
differs (relative 2e-6 at most in float32, tested). It is free of Python state, so ``torch.compile`` takes it whole.

Legend of shapes: b batch, k draws, h chunk step, s prefix tokens, n key/value heads, g query heads per key/value
head, c head width, w expert width.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from lerobot.policies.smolvla.modeling_smolvla import create_sinusoidal_pos_embedding
from torch import Tensor

_ROPE_WAVELENGTH = 10_000  # default of LeRobot's apply_rope


@dataclass(frozen=True)
class Prefix:
    """What the expert's layers read of an encoded observation, projected once.

    Attributes:
        pad_masks: True where a prefix token is real.
        layers: per expert layer its keys and values; None where the expert has no layer.
    """

    pad_masks: Bool[Tensor, "b s"]
    layers: tuple[tuple[Float[Tensor, "b n s c"], Float[Tensor, "b n s c"]] | None, ...]


def attends_to_itself(expert: Any, index: int) -> bool:
    """Whether an expert layer sees its own tokens beside the prefix (else the prefix alone)."""
    every = expert.self_attn_every_n_layers
    return "cross" not in expert.attention_mode or (every > 0 and index % every == 0)


def project(expert: Any, pad_masks: Bool[Tensor, "b s"], layers: tuple[tuple[Tensor, Tensor], ...]) -> Prefix:
    """Brings the prefix into the form in which each layer reads it.

    Args:
        expert: LeRobot's ``SmolVLMWithExpertModel``.
        pad_masks: True where a prefix token is real.
        layers: per layer of the VLM its keys and values, ``[b, n, s, c]``.

    Returns:
        For cross-attention layers the expert's own projection of them (with gradients, where they are on).
    """
    found: list[tuple[Tensor, Tensor] | None] = []
    for index, (layer, (keys, values)) in enumerate(zip(_layers(expert), layers, strict=True)):
        if layer is None:
            found.append(None)
            continue
        attention = layer.self_attn
        # A context that was encoded under autocast may be read outside of it.
        keys, values = (tensor.to(attention.k_proj.weight.dtype) for tensor in (keys, values))
        if not attends_to_itself(expert, index):
            keys = _heads(attention.k_proj(keys.transpose(1, 2).flatten(2)), attention.head_dim)
            values = _heads(attention.v_proj(values.transpose(1, 2).flatten(2)), attention.head_dim)
        found.append((keys, values))
    return Prefix(pad_masks, tuple(found))


def velocity(
    model: Any, prefix: Prefix, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
) -> Float[Tensor, "b k h d"]:
    """The velocity of every draw of every observation.

    Args:
        model: LeRobot's ``VLAFlowMatching``.
        prefix: of the observations, :func:`project`.
        x_t: noisy chunks at native width.
        t: their times.
    """
    expert = model.vlm_with_expert
    hidden = _embed(model, x_t, t)
    step = torch.arange(x_t.shape[2], device=x_t.device)
    from_zero = _rope_table(step, expert)
    after_prefix = _rope_table(prefix.pad_masks.sum(1)[:, None, None] + step, expert)
    see = _visible(prefix.pad_masks, x_t.shape[2])
    for index, (layer, entry) in enumerate(zip(_layers(expert), prefix.layers, strict=True)):
        if layer is None or entry is None:
            continue
        normed = layer.input_layernorm(hidden).to(layer.self_attn.q_proj.weight.dtype)
        if attends_to_itself(expert, index):
            attended = _self_attention(layer.self_attn, normed, *entry, after_prefix, see)
        else:
            attended = _cross_attention(layer.self_attn, normed, *entry, from_zero, see)
        hidden = layer.self_attn.o_proj(attended.to(normed.dtype)) + hidden
        hidden = layer.mlp(layer.post_attention_layernorm(hidden)) + hidden
    return model.action_out_proj(expert.lm_expert.norm(hidden).float())


def _embed(model: Any, x_t: Tensor, t: Tensor) -> Float[Tensor, "b k h w"]:
    action = model.action_in_proj(x_t)
    config = model.config
    time = create_sinusoidal_pos_embedding(
        t.flatten(), action.shape[-1], config.min_period, config.max_period, device=t.device
    )
    time = time.to(action.dtype).view(*t.shape, 1, -1).expand_as(action)
    return model.action_time_mlp_out(F.silu(model.action_time_mlp_in(torch.cat([action, time], -1))))


def _self_attention(
    attention: Any,
    hidden: Tensor,
    keys: Tensor,
    values: Tensor,
    rope: tuple[Tensor, Tensor],
    see: Tensor,
) -> Float[Tensor, "b k h _"]:
    (b, k, h, _), (_, n, s, c) = hidden.shape, keys.shape
    queries = _rope(_split(attention.q_proj(hidden), c), rope).view(b, k, h, n, -1, c)  # b k h n g c
    g = queries.shape[4]
    own_keys = _rope(_split(attention.k_proj(hidden), c), rope).permute(0, 3, 1, 4, 2)  # b n k c h
    own_values = _split(attention.v_proj(hidden), c).permute(0, 3, 1, 2, 4)  # b n k h c
    queries = queries.permute(0, 3, 1, 4, 2, 5)  # b n k g h c
    to_prefix = (queries.reshape(b, n, k * g * h, c) @ keys.transpose(2, 3)).view(b, n, k, g * h, s)
    to_own = queries.reshape(b, n, k, g * h, c) @ own_keys
    scores = torch.cat([to_prefix, to_own], -1).view(b, n, k, g, h, s + h)
    weights = _softmax(scores * c**-0.5, see[:, None, None, None], values.dtype).view(b, n, k, g * h, s + h)
    on_prefix = weights[..., :s].reshape(b, n, k * g * h, s) @ values
    on_own = weights[..., s:] @ own_values
    return _join(on_prefix.view(b, n, k, g, h, c) + on_own.view(b, n, k, g, h, c))


def _cross_attention(
    attention: Any,
    hidden: Tensor,
    keys: Tensor,
    values: Tensor,
    rope: tuple[Tensor, Tensor],
    see: Tensor,
) -> Float[Tensor, "b k h _"]:
    (b, k, h, _), (_, n, s, c) = hidden.shape, keys.shape
    queries = _rope(_split(attention.q_proj(hidden), c), rope).view(b, k, h, n, -1, c)
    queries = queries.permute(0, 3, 1, 4, 2, 5)  # b n k g h c
    scores = queries.reshape(b, n, -1, c) @ keys.transpose(2, 3)
    weights = _softmax(scores * c**-0.5, see[:, None, :1, :s], values.dtype)
    return _join((weights @ values).view(queries.shape))


def _softmax(scores: Tensor, see: Tensor, dtype: torch.dtype) -> Tensor:
    scores = scores.float()
    return scores.masked_fill(~see, torch.finfo(scores.dtype).min).softmax(-1).to(dtype)


def _join(attended: Float[Tensor, "b n k g h c"]) -> Float[Tensor, "b k h _"]:
    return attended.permute(0, 2, 4, 1, 3, 5).flatten(3)


def _split(projected: Tensor, width: int) -> Float[Tensor, "b k h heads c"]:
    return projected.unflatten(-1, (-1, width))


def _heads(projected: Float[Tensor, "b s _"], width: int) -> Float[Tensor, "b n s c"]:
    return projected.unflatten(-1, (-1, width)).transpose(1, 2)


def _visible(pad_masks: Bool[Tensor, "b s"], chunk: int) -> Bool[Tensor, "b h s_plus_h"]:
    """What each token of a chunk sees: the real tokens of the prefix, then the chunk up to itself."""
    before = torch.ones(chunk, chunk, dtype=torch.bool, device=pad_masks.device).tril()
    return torch.cat([pad_masks[:, None].expand(-1, chunk, -1), before.expand(len(pad_masks), -1, -1)], -1)


def _rope_table(position: Tensor, expert: Any) -> tuple[Tensor, Tensor]:
    """Sine and cosine of rotary embedding (Su et al. 2021, "RoFormer"), ``[..., h, 1, c / 2]``."""
    half = expert.vlm.config.text_config.head_dim // 2
    exponent = torch.arange(half, dtype=torch.float32, device=position.device) / half
    angle = position[..., None].float() / _ROPE_WAVELENGTH**exponent
    return angle.sin()[..., None, :], angle.cos()[..., None, :]


def _rope(x: Tensor, table: tuple[Tensor, Tensor]) -> Tensor:
    sine, cosine = table
    first, second = x.float().chunk(2, -1)
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1).to(x.dtype)


def _layers(expert: Any) -> list[Any]:
    return expert.get_model_layers([expert.get_vlm_model().text_model, expert.lm_expert])[1]
