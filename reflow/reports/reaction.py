"""Success at a latency, as the flat figures of an evaluation name it (``delay=...``).

    reaction/<who>@<steps>/<latency>/n<actions>             share of episodes solved
    reaction/<who>@<steps>/<latency>/n<actions>/{low,high}  95 % Wilson interval
    reaction/<who>@<steps>/<latency>/n<actions>/jump        largest change of a joint where a chunk takes over from
                                                            the one before, in its unit, median of the episodes
    reaction/<who>@<steps>/<latency>/n<actions>/jump_max    largest of all episodes
    reaction/<who>@<steps>/latency                          ms of a chunk, as measured; not always there

A latency is ``measured`` or, in ms, ``100ms``. Whose chunks follow one another by real-time chunking is
``<who>@<steps>-guided`` or ``-trained``. Left out: playing (``reflow.evaluation.reaction``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

MEASURED = "measured"
_ROW = re.compile(r"reaction/(\w+@\d+(?:-\w+)?)/(measured|[\d.e+-]+ms)/n(\d+)$")


@dataclass(frozen=True)
class ReactionRow:
    """One contender at one latency and number of actions.

    Attributes:
        name: ``teacher@10``.
        latency: ``measured``, or ``100ms``.
        ms: of its chunks.
        n_action_steps: actions played of each.
        rate: of success, in [0, 1].
        low, high: its 95 % Wilson interval.
        jump: largest change of a joint where a chunk takes over, in its unit, median of the episodes; or nan.
    """

    name: str
    latency: str
    ms: float
    n_action_steps: int
    rate: float
    low: float
    high: float
    jump: float = nan


def latency_name(ms: float) -> str:
    """A given latency as figures name it."""
    return f"{ms:g}ms"


def row_name(name: str, latency: str, n_action_steps: int) -> str:
    """The figure of a contender at a latency and a number of actions."""
    return f"reaction/{name}/{latency}/n{n_action_steps}"


def measured_name(name: str) -> str:
    """The figure of a contender's measured latency, in ms, however its chunks follow one another."""
    return f"reaction/{name.partition('-')[0]}/latency"


def reaction_rows(metrics: Mapping[str, float]) -> list[ReactionRow]:
    """All rows: by contender (teacher first, more steps first, no real-time chunking first), latency, actions."""
    rows = []
    for key, rate in metrics.items():
        if (match := _ROW.match(key)) is None:
            continue
        name, latency, actions = match.groups()
        ms = metrics[measured_name(name)] if latency == MEASURED else float(latency.removesuffix("ms"))
        low, high, jump = (metrics.get(f"{key}/{end}", nan) for end in ("low", "high", "jump"))
        rows.append(ReactionRow(name, latency, ms, int(actions), rate, low, high, jump))
    return sorted(rows, key=lambda row: (*_place(row.name), row.ms, row.latency, row.n_action_steps))


def best_rows(rows: Iterable[ReactionRow]) -> list[ReactionRow]:
    """Of each contender at each latency the number of actions that succeeds most; of equal ones the largest."""
    best: dict[tuple[str, str], ReactionRow] = {}
    for row in rows:
        key = row.name, row.latency
        if key not in best or (row.rate, row.n_action_steps) > (best[key].rate, best[key].n_action_steps):
            best[key] = row
    return list(best.values())


def _place(name: str) -> tuple[bool, int, str]:
    played, _, way = name.partition("-")
    who, _, steps = played.partition("@")
    return who != "teacher", -int(steps), way
