"""What the seconds of all rounds say: pairs per second, ratios within a round, shares of parts. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from reflow.speed.rounds import Timed
from reflow.speed.stopwatch import PARTS
from reflow.speed.variants import LIMIT, REFERENCE, STORES, label


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds: median, 10th and 90th percentile."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of the values, one or more."""
        low, median, high = np.percentile(np.asarray(values, dtype=float), (10, 50, 90)).tolist()
        return cls(median, low, high)


@dataclass(frozen=True)
class Standing:
    """What one contender is worth.

    Attributes:
        variant: its name.
        label: the same for people.
        pairs: per step.
        pairs_per_second: over the rounds.
        ratio: its pairs per second over the reference's of the same round; None without a reference.
        limit_share: over the limit's of the same round; None without a limit.
        seconds_per_pair: by part, medians.
        data_share: part of a step spent waiting for data; None where no parts were taken.
        cache_overhead: part of a step spent reading the pair cache; None for contenders without one. Where frames are
            decoded as well, the time that the live contenders need for that is taken off.
    """

    variant: str
    label: str
    pairs: int
    pairs_per_second: Spread
    ratio: Spread | None
    limit_share: Spread | None
    seconds_per_pair: dict[str, float]
    data_share: float | None
    cache_overhead: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def summarize(records: Sequence[Timed]) -> list[Standing]:
    """Compares the contenders, in the order in which they first appear.

    Args:
        records: of all rounds. Where some have no parts, those are compared by, and the others tell the parts.
    """
    names = list(dict.fromkeys(record.variant for record in records))
    coarse = [record for record in records if not record.parts] or list(records)
    fine = [record for record in records if record.parts]
    speed = {name: _speeds(coarse, name) for name in names}
    live = next((name for name in names if name.startswith("live")), None)
    return [
        Standing(
            name,
            label(name),
            next(record.pairs for record in records if record.variant == name),
            Spread.of(list(speed[name].values())),
            _over(speed[name], speed.get(REFERENCE)),
            _over(speed[name], speed.get(LIMIT)),
            _parts(fine, name),
            _data_share(fine, name),
            _cache_overhead(fine, name, live),
        )
        for name in names
    ]


def _speeds(records: Sequence[Timed], name: str) -> dict[int, float]:
    return {record.round: record.pairs / record.seconds for record in records if record.variant == name}


def _over(mine: dict[int, float], theirs: dict[int, float] | None) -> Spread | None:
    if theirs is None:
        return None
    return Spread.of([speed / theirs[number] for number, speed in mine.items()])


def _parts(records: Sequence[Timed], name: str) -> dict[str, float]:
    own = [record for record in records if record.variant == name]
    if not own:
        return {}
    return {
        part: float(np.median([record.parts.get(part, 0.0) / record.pairs for record in own]))
        for part in PARTS
    }


def _data_share(records: Sequence[Timed], name: str) -> float | None:
    shares = [
        record.parts.get("data", 0.0) / record.seconds
        for record in records
        if record.variant == name and name != LIMIT
    ]
    return float(np.median(shares)) if shares else None


def _cache_overhead(records: Sequence[Timed], name: str, live: str | None) -> float | None:
    own = {record.round: record for record in records if record.variant == name}
    if name not in STORES or not own:
        return None
    decoding = {record.round: record.parts.get("data", 0.0) for record in records if record.variant == live}
    decodes = STORES[name] is None and decoding
    return float(
        np.median(
            [
                max(0.0, record.parts.get("data", 0.0) - (decoding[number] if decodes else 0.0))
                / record.seconds
                for number, record in own.items()
            ]
        )
    )
