"""Time to quality: seconds of training until a one-step student ends close enough to its teacher.

Pairs per second are worth nothing if many noises of one observation teach less than as many observations. So each
contender trains a student of its own, and every few steps its endpoint error@1 is measured on held-out observations,
the same ones with the same noise for all; measuring is not counted. The contenders take turns, so that a slow hour of
the machine is everybody's. Here: settings, and what a curve says; the race itself is :mod:`reflow.speed.race`. Left
out: decay of the learning rate, as nobody knows how long a contender will run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from reflow.errors import UserError
from reflow.policies import FlowPolicy
from reflow.speed.conditions import check_settings
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.variants import REFERENCE, Variant, kind_and_draws, label

OUR_TIMES = "reference_our_times"
"""The reference with times drawn as ours are: what of the difference comes from that alone."""
DEFAULT_CONTENDERS = (
    REFERENCE,
    OUR_TIMES,
    *(f"live_{draws}" for draws in (1, 2, 4, 8, 16)),
    "pairs_4",
    "pairs+prefix_1",
)


@dataclass(frozen=True)
class QualitySettings:
    """How long the race is.

    Attributes:
        contenders: ``reference``, ``reference_our_times``, ``live_4`` (4 noises per observation), ``pairs_4``,
            ``pairs+prefix_1``.
        goals: endpoint errors@1 to reach; a contender stops at the smallest.
        budget: seconds of training after which it stops anyway.
        every: steps between two measurements.
        size: pairs per step, or observations, whichever is constant.
        constant: ``pairs``: more noises, fewer observations. ``observations``: more noises, more pairs.
        pool: noises per observation of contenders that read ready pairs.
        held_out: observations to measure on; ``held_out_draws`` noises for each.
        warmup_steps, lr: of every contender's optimizer; constant afterwards, None for the policy's preset.
        ema: decay of the averaged weights that are measured; None measures the weights themselves.
        reference_padding: ``real``, as the script did, or ``full``, as ours.
        seed: of order, noise and time.

    Raises:
        UserError: a number is out of range, or there is no such contender.
    """

    contenders: tuple[str, ...] = DEFAULT_CONTENDERS
    goals: tuple[float, ...] = (0.16, 0.14, 0.12)
    budget: float = 600.0
    every: int = 20
    size: int = 16
    constant: Literal["pairs", "observations"] = "pairs"
    pool: int = 8
    held_out: int = 64
    held_out_draws: int = 4
    warmup_steps: int = 30
    lr: float | None = None
    ema: float | None = 0.995
    reference_padding: Literal["real", "full"] = "real"
    seed: int = 0

    def __post_init__(self) -> None:
        least = dict.fromkeys(("every", "size", "pool", "held_out", "held_out_draws"), 1) | {
            "warmup_steps": 0
        }
        words = {"constant": ("pairs", "observations"), "reference_padding": ("real", "full")}
        check_settings(self, least, words, "race.")
        for name in ("budget", "lr"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise UserError(f"race.{name}={getattr(self, name)}; allowed: above 0")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise UserError(f"race.ema={self.ema}; allowed: from 0 up to, but not including, 1, or null")
        if not self.goals or not all(0 < goal < 1 for goal in self.goals):
            raise UserError(f"race.goals={list(self.goals)}; allowed: endpoint errors between 0 and 1")
        if not self.contenders or len(set(self.contenders)) < len(self.contenders):
            raise UserError(f"race.contenders={list(self.contenders)}; allowed: one or more, each once")
        for name in self.contenders:
            kind, draws = contender(name)
            if kind.startswith("pairs") and draws > self.pool:
                raise UserError(
                    f"race.contenders holds {name}, race.pool={self.pool}; allowed: at most as many noises per step "
                    "as there are in the pool"
                )

    @property
    def stores(self) -> set[str]:
        """What the contenders want stored beside the endpoints."""
        return {"prefix"} if any(name.startswith("pairs+prefix") for name in self.contenders) else set()

    @property
    def reads_pairs(self) -> bool:
        """Whether any contender reads a pair cache."""
        return any(name.startswith("pairs") for name in self.contenders)

    def observations(self, draws: int) -> int:
        """Per step, for a contender with so many noises for each."""
        return self.size if self.constant == "observations" else max(1, round(self.size / draws))


@dataclass(frozen=True)
class Point:
    """A measurement.

    Attributes:
        seconds: of training until here.
        step: of the optimizer.
        pairs: trained on.
        error: endpoint error@1 on held-out observations.
    """

    seconds: float
    step: int
    pairs: int
    error: float


@dataclass
class Racer:
    """A contender on its way.

    Attributes:
        variant: its training step.
        student: that it trains.
        fill_seconds: spent on making pairs beforehand; None for those that need none.
        curve: measurements so far, from before the first step.
        diverged: the last measurement was no number, and is not in the curve.
    """

    variant: Variant
    student: FlowPolicy
    fill_seconds: float | None = None
    curve: list[Point] = field(default_factory=list)
    diverged: bool = False

    def run(self, steps: int, budget: float, watch: Stopwatch) -> tuple[float, int]:
        """Trains on.

        Returns:
            Seconds and steps since the beginning.
        """
        seconds, step = self.curve[-1].seconds, self.curve[-1].step
        for _ in range(steps):
            if seconds >= budget:
                break
            self.variant.step(watch)
            seconds, step = seconds + sum(watch.seconds.values()), step + 1
        return seconds, step

    @property
    def delivered(self) -> FlowPolicy:
        """The student as it would be delivered."""
        return self.student if self.variant.train is None else self.variant.train.delivered

    def as_json(self, goals: Sequence[float]) -> dict[str, Any]:
        """Plain values: the curve, and the time to each goal, without and with that of filling the cache."""
        reached = {f"{goal:g}": time_to(self.curve, goal) for goal in goals}
        fill = self.fill_seconds or 0.0
        return {
            "variant": self.variant.name,
            "label": label(self.variant.name),
            "observations": self.variant.observations,
            "draws": self.variant.draws,
            "fill_seconds": self.fill_seconds,
            "diverged": self.diverged,
            "seconds_to": reached,
            "seconds_to_with_fill": {
                goal: None if seconds is None else seconds + fill for goal, seconds in reached.items()
            },
            "curve": [asdict(point) for point in self.curve],
        }


def contender(name: str) -> tuple[str, int]:
    """What a contender is, and its noises per observation.

    Raises:
        UserError: there is no such contender.
    """
    if name in (REFERENCE, OUR_TIMES):
        return name, 1
    if found := kind_and_draws(name):
        return found
    raise UserError(
        f"race.contenders holds {name!r}; allowed: {REFERENCE}, {OUR_TIMES}, and live_4, pairs_4, pairs+prefix_1 "
        "with any number"
    )


def time_to(curve: Sequence[Point], goal: float) -> float | None:
    """Seconds of training at the first measurement that is at the goal or below; None if there is none.

    Between that measurement and the one before, the error is taken to fall exponentially.
    """
    for before, point in zip([None, *curve[:-1]], curve, strict=True):
        if point.error > goal:
            continue
        if before is None or point.error <= 0:
            return point.seconds
        share = math.log(before.error / goal) / math.log(before.error / point.error)
        return before.seconds + share * (point.seconds - before.seconds)
    return None
