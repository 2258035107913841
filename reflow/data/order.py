"""The order of training: which frame comes at which place, as a pure function of (seed, step).

Nothing is remembered. A run that goes on at step s, on any number of workers or ranks, sees the batches it
would have seen without the interruption. Left out: decoding (``reflow.data.frames``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import numpy as np
from torch.utils.data import Sampler

from reflow.errors import UserError


class Visit(NamedTuple):
    """One use of one frame.

    Attributes:
        row: row of the data set.
        visit: how often this row was used before in this run; with it noise differs between visits.
    """

    row: int
    visit: int


class Places(Protocol):
    """An endless order of visits."""

    def visits(self, start: int, count: int) -> list[Visit]:
        """The visits at places ``start`` to ``start + count - 1``."""


@dataclass(frozen=True)
class Order:
    """An endless shuffled order over ``num_rows`` rows, epoch after epoch.

    Attributes:
        num_rows: rows of the data set, at least 1.
        seed: of the run.
        stream: which of several orders of one seed; 0 is a single data set's.
    """

    num_rows: int
    seed: int
    stream: int = 0
    _kept: dict[int, np.ndarray] = field(default_factory=dict, init=False, repr=False, compare=False)

    def epoch(self, number: int) -> np.ndarray:
        """The permutation of epoch ``number``, int64 ``[num_rows]``."""
        entropy = [self.seed, number, self.stream] if self.stream else [self.seed, number]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence(entropy))).permutation(
            self.num_rows
        )

    def visits(self, start: int, count: int) -> list[Visit]:
        """The visits at places ``start`` to ``start + count - 1`` of the endless order."""
        return self.at(range(start, start + count))

    def at(self, places: Sequence[int]) -> list[Visit]:
        """The visits at some places of the endless order."""
        epochs = {p // self.num_rows for p in places}
        permutations = {n: self._kept[n] if n in self._kept else self.epoch(n) for n in epochs}
        if permutations:  # kept for the next batch: a million rows take 8 MB and 0.15 s
            self._kept.clear()
            self._kept.update(permutations)
        return [
            Visit(int(permutations[p // self.num_rows][p % self.num_rows]), p // self.num_rows)
            for p in places
        ]


class StepSampler(Sampler[list[Visit]]):
    """Batches of :class:`Visit`, endlessly from a given training step on.

    Args:
        order: the order of the whole run.
        batch_size: observations per rank and step.
        first_step: the step that the first batch belongs to (the global step of a resumed run).
        rank: number of this process.
        world_size: number of processes; each takes its own part of every global batch.
    """

    def __init__(
        self, order: Places, batch_size: int, first_step: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        if batch_size < 1:
            raise UserError(f"data.batch_size is {batch_size}; allowed: 1 or more")
        self.order, self.batch_size, self.first_step = order, batch_size, first_step
        self.rank, self.world_size = rank, world_size

    def __iter__(self) -> Iterator[list[Visit]]:
        step = self.first_step
        while True:
            place = (step * self.world_size + self.rank) * self.batch_size
            yield self.order.visits(place, self.batch_size)
            step += 1
