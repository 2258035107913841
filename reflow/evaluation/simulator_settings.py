"""How much is played in the simulator: the keys of an evaluation that say so, checked.

Left out: playing it (``reflow.evaluation.simulated``), and what a plan is held to (``reflow.evaluation.plan``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from reflow.errors import UserError
from reflow.evaluation.folders import WHO, Who
from reflow.evaluation.plan import Plan
from reflow.metrics.paired_plan import PairedPlan, plan_pairs
from reflow.policies.joining import WAYS
from reflow.reports.reaction import MEASURED
from reflow.simulator.actor import Contender


@dataclass(frozen=True)
class SimulatorSettings:
    """How much is played.

    Attributes:
        episodes: for every contender, on the same seeds; None for as many as ``power`` takes.
        power: of the plan, where ``episodes`` is None.
        margin: of non-inferiority, as a share of episodes.
        discordance: share of pairs that is expected to differ.
        expected_difference: of success, the student's less the teacher's.
        teacher_steps: step counts of the teacher; against the first all others are held.
        student_steps: step counts of the student; the first is the one that is planned for.
        first_seed: of the episodes.
        noise_seed: of the noise, the same for all.
        processes: that play in parallel.
        n_action_steps: actions played of each chunk, None for the policy's own; with a delay also a list.
        delay: latency of a chunk in ms, during which the world goes on, ``measured`` for each contender's own, or a
            list; None for a world that waits.
        rtc: how a chunk follows the one before, where there is a delay (:mod:`reflow.policies.joining`): ``guided``,
            ``trained``, or a list; None: without knowing of it. ``trained`` is for students; the teacher plays in the
            others, or without.
        videos: of so many of the first seeds, or of a list of seeds.
        videos_of: ``all``, or only those that ``differ``: exactly one of the first student and the first teacher
            succeeded.

    Raises:
        UserError: a number is out of range.
    """

    episodes: int | None = 100
    power: float = 0.9
    margin: float = 0.02
    discordance: float = 0.12
    expected_difference: float = 0.0
    teacher_steps: tuple[int, ...] = (10, 1)
    student_steps: tuple[int, ...] = (1,)
    first_seed: int = 100_000
    noise_seed: int = 7
    processes: int = 2
    n_action_steps: Any = None
    delay: Any = None
    rtc: Any = None
    videos: Any = 0
    videos_of: str = "all"

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("processes", 1), ("first_seed", 0), ("noise_seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{name} is {value}; allowed: {least} or more")
        for name in ("teacher_steps", "student_steps"):
            steps = getattr(self, name)
            if not steps or min(steps) < 1 or len(set(steps)) < len(steps):
                raise UserError(
                    f"{name} is {list(steps)}; allowed: one or more different numbers of steps, each 1 or more"
                )
        self._check_delays()
        episodes = self.plan.paired.pairs
        good = isinstance(self.videos, (tuple, list)) and set(self.videos) <= set(self.seeds)
        if not good and not (isinstance(self.videos, int) and 0 <= self.videos <= episodes):
            raise UserError(
                f"videos is {self.videos}; allowed: 0 to episodes={episodes}, or a list of seeds from "
                f"{self.seeds[0]} to {self.seeds[-1]}"
            )
        if self.videos_of not in ("all", "differ"):
            raise UserError(
                f"videos_of is {self.videos_of}; allowed: all, or differ (episodes in which exactly one of teacher "
                "and student succeeds)"
            )

    @cached_property
    def plan(self) -> Plan:
        """What this command alone would plan."""
        assumed = (self.discordance, self.expected_difference)
        paired = (
            plan_pairs(self.margin, self.power, *assumed)
            if self.episodes is None
            else PairedPlan(self.episodes, self.margin, *assumed)
        )
        return Plan(self.first_seed, paired, self.student_steps[0], self.teacher_steps[0])

    def _check_delays(self) -> None:
        steps = self.action_steps
        if not all(n is None or (isinstance(n, int) and n >= 1) for n in steps) or not _different(steps):
            raise UserError(
                f"n_action_steps is {self.n_action_steps}; allowed: 1 or more, a list of different ones beside a "
                "delay, or null for the policy's own"
            )
        if len(steps) > 1 and not self.delays:
            raise UserError(
                f"n_action_steps is {self.n_action_steps}; a list goes with a delay: add delay=measured, or delay=0 "
                "for a world that waits"
            )
        if self.delay is not None and not (all(map(_is_latency, self.delays)) and _different(self.delays)):
            raise UserError(
                f"delay is {self.delay}; allowed: ms from 0, {MEASURED}, a list of different ones, or null for a "
                f"world that waits (delay=[{MEASURED},30,100])"
            )

        if not all(way in (None, *WAYS) for way in self.ways) or not _different(self.ways):
            raise UserError(
                f"rtc is {self.rtc}; allowed: null, {' or '.join(WAYS)}, or a list of different ones "
                f"(rtc=[null,{','.join(WAYS)}])"
            )
        if set(self.ways) != {None} and not self.delays:
            raise UserError(
                f"rtc={self.rtc} is about what is played while a policy thinks; add a delay (delay=measured, "
                "delay=[100,300])"
            )

    @property
    def seeds(self) -> range:
        """Of all episodes that are asked for."""
        return self.plan.seeds

    @property
    def delays(self) -> tuple[float | str, ...]:
        """All latencies; none where the world waits."""
        return () if self.delay is None else _as_tuple(self.delay)

    @property
    def ways(self) -> tuple[str | None, ...]:
        """All in which a chunk follows the one before."""
        return _as_tuple(self.rtc)

    @property
    def measures(self) -> bool:
        """Whether latencies must be measured."""
        return MEASURED in self.delays

    @property
    def action_steps(self) -> tuple[int | None, ...]:
        """All numbers of actions played of a chunk; None for the policy's own."""
        return _as_tuple(self.n_action_steps)

    def video_seeds(self, differing: Sequence[int] = ()) -> tuple[int, ...]:
        """Of the episodes that are filmed; ``differing``: those of which exactly one succeeded."""
        seeds: Sequence[int] = differing if self.videos_of == "differ" else self.seeds
        if isinstance(self.videos, int):
            return tuple(seeds[: self.videos])
        return tuple(seed for seed in self.videos if seed in seeds)

    def contenders(self, folders: Mapping[Who, Path]) -> list[Contender]:
        """Everybody who plays in a world that waits, the teacher at its first step count first."""
        n = self.action_steps[0]
        return [Contender(who, folders[who], steps, n) for who in WHO for steps in self.steps[who]]

    @property
    def steps(self) -> dict[Who, tuple[int, ...]]:
        """Step counts of both policies."""
        return {"teacher": self.teacher_steps, "student": self.student_steps}


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def _different(values: Sequence[Any]) -> bool:
    return 0 < len(values) == len(set(values))


def _is_latency(delay: Any) -> bool:
    return delay == MEASURED or (isinstance(delay, (int, float)) and 0 <= delay < math.inf)
