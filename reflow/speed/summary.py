"""What the seconds of all rounds say: pairs per second, ratios within a round, shares of parts. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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


def summarize(records: Sequence[Timed]) -> list[Standing]:
    """Compares the contenders, in the order in which they first appear.

    Args:
        records: of all rounds. Where some have no parts, those are compared by, and the others tell the parts.
    """
    steps: dict[str, list[Timed]] = {}
    for record in records:
        steps.setdefault(record.variant, []).append(record)
    coarse = any(not record.parts for record in records)
    speeds = {
        name: {one.round: one.pairs / one.seconds for one in own if not (coarse and one.parts)}
        for name, own in steps.items()
    }
    fine = {name: [one for one in own if one.parts] for name, own in steps.items()}
    live = next((name for name in steps if name.startswith("live")), "")
    decoding = {one.round: _reading(one) for one in fine.get(live, ())}
    found = []
    for name, own in fine.items():
        spent = decoding if STORES.get(name, "") is None else {}  # frames are decoded beside pairs alone
        caching = [max(0.0, _reading(one) - spent.get(one.round, 0.0)) / one.seconds for one in own]
        found.append(
            Standing(
                name,
                label(name),
                steps[name][0].pairs,
                Spread.of(list(speeds[name].values())),
                _over(speeds[name], speeds.get(REFERENCE)),
                _over(speeds[name], speeds.get(LIMIT)),
                {
                    part: np.median([one.parts.get(part, 0.0) / one.pairs for one in own]).item()
                    for part in PARTS
                }
                if own
                else {},
                _median([_reading(one) / one.seconds for one in own if name != LIMIT]),
                _median(caching if name in STORES else []),
            )
        )
    return found


def _over(mine: dict[int, float], theirs: dict[int, float] | None) -> Spread | None:
    if theirs is None:
        return None
    return Spread.of([speed / theirs[number] for number, speed in mine.items()])


def _reading(record: Timed) -> float:
    return record.parts.get("data", 0.0)


def _median(values: Sequence[float]) -> float | None:
    return float(np.median(values)) if values else None
