"""What a pair cache adds to a training batch, and what then need not be read of the data set."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from reflow.data.frames import ENDPOINT, Reading
from reflow.endpoints import PairCache
from reflow.flow import draw_identities
from reflow.policies import CONTEXT, VISION


@dataclass(frozen=True)
class Stored:
    """Endpoints, and where they are stored vision features or prefixes, of the visits in a batch.

    Attributes:
        cache: where they are read from.
        draws: noises per visit (``objective.draws``).
        draw_pool: noises that an observation has in all (``objective.draw_pool``).

    Raises:
        ValueError: the cache has fewer draws than the pool.
    """

    cache: PairCache
    draws: int
    draw_pool: int | None = None

    def __post_init__(self) -> None:
        if (self.draw_pool or self.draws) > self.cache.draws:
            raise ValueError(
                f"objective.draws={self.draws} with objective.draw_pool={self.draw_pool} asks for more draws than "
                f"{self.cache.path} holds of each observation, {self.cache.draws}; ask for no more "
                f"(objective.draw_pool={self.cache.draws}), or add some: python -m reflow.pairs "
                f"draws={self.draw_pool or self.draws}, with the settings that made it"
            )

    @property
    def reading(self) -> Reading:
        """What must still be read of the data set."""
        if "prefix" in self.cache.stores:
            return "identity"
        return "words" if "vision" in self.cache.stores else "all"

    def check_visits(self, visits: int) -> None:
        """Refuses a run that would meet more draws than there are, before it has begun.

        Args:
            visits: how often the run meets its observations, at most.

        Raises:
            ValueError: with what to do.
        """
        if self.draw_pool is None and visits * self.draws > self.cache.draws:
            raise ValueError(
                f"this run meets an observation up to {visits} times with {self.draws} new noises each, "
                f"{self.cache.path} holds {self.cache.draws} draws of each; meet those again and again "
                f"(objective.draw_pool={self.cache.draws}), or add more: python -m reflow.pairs "
                f"draws={visits * self.draws}, with the settings that made it"
            )

    def __call__(self, sample: Tensor, visit: Tensor) -> dict[str, Any]:
        """Entries of the batch with these identities, ``[b]`` each."""
        drawn = draw_identities(visit, self.draws, self.draw_pool)
        found: dict[str, Any] = {ENDPOINT: self.cache.endpoints(sample, drawn)}
        if self.reading == "identity":
            found[CONTEXT] = self.cache.prefix(sample)
        elif self.reading == "words":
            found[VISION] = self.cache.vision(sample)
        return found
