"""An observation as SmolVLA's prefix pass leaves it: keys and values of every layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer


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
