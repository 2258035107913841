"""An observation as PaliGemma's prefix pass leaves it: keys and values of every layer, and pi0's state."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Bool, Float
from torch import Tensor

from reflow.policies.caches import Layers, repeated


@dataclass(frozen=True)
class PiContext:
    """An encoded observation.

    Attributes:
        pad_masks: True where a prefix token is real.
        layers: per layer of PaliGemma its keys and values.
        state: padded, where the action expert embeds it (pi0); None where it is among the words (pi05).
    """

    pad_masks: Bool[Tensor, "b s"]
    layers: Layers
    state: Float[Tensor, "b w"] | None
    _repeated: dict[int, PiContext] = field(default_factory=dict, repr=False, compare=False)

    def repeat(self, draws: int) -> PiContext:
        """The context with every observation ``draws`` times in a row; built once per ``draws``."""
        if draws == 1:
            return self
        if draws not in self._repeated:
            self._repeated[draws] = PiContext(
                self.pad_masks.repeat_interleave(draws, 0),
                repeated(self.layers, draws),
                None if self.state is None else self.state.repeat_interleave(draws, 0),
            )
        return self._repeated[draws]

    def entries(self) -> list[tuple[Tensor, Tensor, None]]:
        """Keys and values as iterating over a cache gives them; LeRobot makes a cache of copies of them per call."""
        return [(keys, values, None) for keys, values in self.layers]
