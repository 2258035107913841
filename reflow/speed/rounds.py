"""Contenders step by step in turn: in every round each one once, the order rotating.

What slows the machine down for a while then slows all of them, and the ratio of one round hardly feels it. Left out:
what is made of the seconds (:mod:`reflow.speed.summary`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from reflow.errors import UserError
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.variants import Variant


@dataclass(frozen=True)
class Timed:
    """One step of one contender.

    Attributes:
        variant: its name.
        round: from 0; the same for all steps that are compared.
        place: its turn in the round, from 0.
        pairs: trained on in the step.
        seconds: of the whole step.
        parts: seconds by part; they add up to the whole. Empty where they were not taken.
    """

    variant: str
    round: int
    place: int
    pairs: int
    seconds: float
    parts: dict[str, float] = field(default_factory=dict)


def rotation(names: Sequence[str], number: int) -> list[str]:
    """The order of round ``number``: each round begins with the next contender."""
    first = number % len(names)
    return [*names[first:], *names[:first]]


def interleave(
    variants: Sequence[Variant],
    *,
    rounds: int,
    warmup: int = 1,
    device: str = "cpu",
    show: Callable[[str], None] = lambda text: None,
) -> Iterator[Timed]:
    """Runs the contenders in turn.

    Args:
        variants: the contenders.
        rounds: that count.
        warmup: rounds before those.
        device: on a GPU the rounds are run once more to take the parts, as taking them makes it wait.
        show: is told what runs.

    Yields:
        A record per step, of the rounds that count. Those without parts are the ones to compare by; on a CPU all have
        both.

    Raises:
        UserError: ``rounds`` below 1 or ``warmup`` below 0.
    """
    if rounds < 1 or warmup < 0:
        raise UserError(f"rounds={rounds}, warmup={warmup}; allowed: 1 or more, and 0 or more")
    by_name = {variant.name: variant for variant in variants}
    on_gpu = device != "cpu"
    passes = [
        (warmup, Stopwatch(device, coarse=on_gpu), False),
        (rounds, Stopwatch(device, coarse=on_gpu), True),
    ]
    if on_gpu:
        passes.append((rounds, Stopwatch(device), True))
    for count, watch, counts in passes:
        for number in range(count):
            for place, name in enumerate(rotation(list(by_name), number)):
                show(f"{'round' if counts else 'warm-up'} {number + 1} of {count}: {name}")
                by_name[name].step(watch)
                parts = watch.seconds
                if counts:
                    total = sum(parts.values())
                    kept = {} if watch.coarse else parts
                    yield Timed(name, number, place, by_name[name].pairs, total, kept)
