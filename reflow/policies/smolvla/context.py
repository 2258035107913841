"""An observation as SmolVLA's prefix pass leaves it: keys and values of every layer."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool
from torch import Tensor
from transformers.cache_utils import DynamicCache

from reflow.policies.caches import Layers, cache_around, repeated


@dataclass(frozen=True)
class SmolVLAContext:
    """An encoded observation: which prefix tokens count, and each layer's keys and values.

    Attributes:
        pad_masks: True where a prefix token is real.
        layers: per layer keys and values, each ``[b, heads, s, head_dim]``.
    """

    pad_masks: Bool[Tensor, "b s"]
    layers: Layers
    _repeated: dict[int, SmolVLAContext] = field(default_factory=dict, repr=False, compare=False)

    def repeat(self, draws: int) -> SmolVLAContext:
        """The context with every observation ``draws`` times in a row; built once per ``draws``."""
        if draws == 1:
            return self
        if draws not in self._repeated:
            self._repeated[draws] = SmolVLAContext(
                self.pad_masks.repeat_interleave(draws, 0),
                repeated(self.layers, draws),
            )
        return self._repeated[draws]

    def cache(self) -> DynamicCache:
        """A cache of its own around the shared tensors, for one call."""
        return cache_around(self.layers)
