"""Frames of several data sets as those of one, and the order in which they come by their weights.

A single data set is a mixture of one: its rows and its order are its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from reflow.data.frames import Frames
from reflow.data.order import Order, Visit
from reflow.errors import UserError

_OWNERS = 2**31  # the stream of the order that says whose turn it is


class Mixed(Dataset[dict[str, Any]]):
    """Frames one data set after the other.

    Args:
        parts: the frames of each, with distinct identities in growing order.

    Attributes:
        samples: identities of the frames, ``[n]``.
        frame_index: place of each in its episode.
        owners: a number of its episode that no episode of another data set has.
        starts: rows at which data sets begin, and the end.
    """

    def __init__(self, parts: Sequence[Frames]) -> None:
        self.parts = list(parts)
        self.samples = torch.cat([part.samples for part in parts])
        self.frame_index = np.concatenate([part.frame_index for part in parts])
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        first = np.cumsum([0, *(int(part.owners.max(initial=-1)) + 1 for part in parts)])
        self.owners = np.concatenate([part.owners + at for part, at in zip(parts, first[:-1], strict=True)])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Visit | int) -> dict[str, Any]:
        row, visit = key if isinstance(key, tuple) else (key, 0)
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[part][Visit(row - int(self.starts[part]), visit)]


@dataclass(frozen=True)
class MixedOrder:
    """An endless order over the rows of several data sets.

    An epoch has as many places as there are rows. Each data set has its share of them, in an order of their own; at
    its places it goes on through its own endless shuffled order.

    Attributes:
        sizes: rows of each data set.
        weights: of their shares; None for as many places as it has rows.
        seed: of the run.
    """

    sizes: Sequence[int]
    weights: Sequence[float | None]
    seed: int

    def __post_init__(self) -> None:
        given = [weight is not None for weight in self.weights]
        if any(given) and not all(given):
            raise UserError(
                f"data.mixture[{given.index(False)}].weight is null, others are not; give every entry a weight, or "
                "none"
            )
        if 0 in self.shares:
            raise UserError(
                f"data.mixture[{self.shares.index(0)}].weight={self.weights[self.shares.index(0)]} is too small: not "
                f"one of {sum(self.sizes)} frames would be of it; leave it out, or give it more"
            )

    @cached_property
    def shares(self) -> list[int]:
        """Places of each data set in an epoch; what is over by rounding goes to the largest remainders."""
        weights = [
            size if weight is None else weight for size, weight in zip(self.sizes, self.weights, strict=True)
        ]
        exact = [sum(self.sizes) * weight / sum(weights) for weight in weights]
        whole = [math.floor(places) for places in exact]
        over = sorted(range(len(exact)), key=lambda part: whole[part] - exact[part])
        for part in over[: sum(self.sizes) - sum(whole)]:
            whole[part] += 1
        return whole

    @cached_property
    def _orders(self) -> list[Order]:
        return [Order(size, self.seed, part) for part, size in enumerate(self.sizes)]

    def visits(self, start: int, count: int) -> list[Visit]:
        """The visits at places ``start`` to ``start + count - 1`` of the endless order."""
        total = sum(self.sizes)
        places = np.arange(start, start + count)
        owners, turns = np.empty(count, np.int64), np.empty(count, np.int64)
        for epoch in np.unique(places // total):
            inside = places // total == epoch
            owner, turn = _turns(tuple(self.shares), self.seed, int(epoch))
            owners[inside], turns[inside] = owner[places[inside] % total], turn[places[inside] % total]
        found: list[Visit] = [Visit(0, 0)] * count
        for part, order in enumerate(self._orders):
            mine, first = np.flatnonzero(owners == part), sum(self.sizes[:part])
            for at, visit in zip(mine, order.at(turns[mine].tolist()), strict=True):
                found[at] = Visit(first + visit.row, visit.visit)
        return found

    def most_visits(self, places: int) -> int:
        """How often, at most, so many places visit one row."""
        epochs, rest = divmod(places, sum(self.sizes))
        return max(
            math.ceil((epochs * share + min(rest, share)) / size)
            for share, size in zip(self.shares, self.sizes, strict=True)
        )


@lru_cache(maxsize=2)
def _turns(shares: tuple[int, ...], seed: int, epoch: int) -> tuple[np.ndarray, np.ndarray]:
    """Whose each place of an epoch is, and the how-manieth place of that data set since the beginning."""
    owner = np.repeat(np.arange(len(shares)), shares)
    if len(shares) > 1:  # of one owner every permutation is the same
        owner = owner[Order(len(owner), seed, _OWNERS).epoch(epoch)]
    turn = np.empty_like(owner)
    for part, share in enumerate(shares):
        turn[owner == part] = epoch * share + np.arange(share)
    return owner, turn
