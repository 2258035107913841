"""Keys and values of a prefix pass, layer by layer: what several policies' contexts are made of."""

from __future__ import annotations

from typing import Any

from jaxtyping import Float
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

Layers = tuple[tuple[Float[Tensor, "b n s c"], Float[Tensor, "b n s c"]], ...]
"""Per layer keys and values, each ``[b, heads, s, head_dim]``."""


def layers_of(cache: Any) -> Layers:
    """What a pass has left in a cache."""
    return tuple((layer.keys, layer.values) for layer in cache.layers)


def repeated(layers: Layers, draws: int) -> Layers:
    """The layers with every observation ``draws`` times in a row."""
    return tuple((k.repeat_interleave(draws, 0), v.repeat_interleave(draws, 0)) for k, v in layers)


def cache_around(layers: Layers) -> DynamicCache:
    """A cache of its own around shared tensors.

    A network appends to its cache, and some crop it again, which would leave the tensors of one call's autograd graph
    behind for the next; a fresh container per call costs nothing.
    """
    cache = DynamicCache()
    for keys, values in layers:
        layer = DynamicLayer()
        layer.lazy_initialization(keys, values)
        layer.keys, layer.values = keys, values
        cache.layers.append(layer)
    return cache
