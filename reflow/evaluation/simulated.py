"""The simulator's part of an evaluation: who plays how often, asked beforehand whether it can be played at all.

Left out: playing (``reflow.simulator.play``), filming (``reflow.simulator.video``), and what success means
(``reflow.simulator.success``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from reflow.errors import UserError
from reflow.evaluation.folders import WHO, Who
from reflow.evaluation.reaction import reaction_of, trials_of
from reflow.reports.reaction import MEASURED
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.play import simulate
from reflow.simulator.success import Success, success_of
from reflow.simulator.video import record_videos

VIDEOS, _FILMED = "videos", "filmed.json"  # who is on those films


@dataclass(frozen=True)
class SimulatorSettings:
    """How much is played.

    Attributes:
        episodes: for every contender, on the same seeds.
        teacher_steps: step counts of the teacher; against the first all others are held.
        student_steps: step counts of the student.
        first_seed: of the episodes.
        noise_seed: of the noise, the same for all.
        processes: that play in parallel.
        n_action_steps: actions played of each chunk, None for the policy's own; with a delay also a list.
        delay: latency of a chunk in ms, during which the world goes on, ``measured`` for each contender's own, or a
            list; None for a world that waits.
        margin: of non-inferiority, as a share of episodes.
        videos: of so many of the first seeds, or of a list of seeds.

    Raises:
        UserError: a number is out of range.
    """

    episodes: int = 100
    teacher_steps: tuple[int, ...] = (10, 1)
    student_steps: tuple[int, ...] = (1,)
    first_seed: int = 100_000
    noise_seed: int = 7
    processes: int = 2
    n_action_steps: Any = None
    delay: Any = None
    margin: float = 0.02
    videos: Any = 0

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("processes", 1), ("first_seed", 0), ("noise_seed", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name} is {getattr(self, name)}; allowed: {least} or more")
        if not 0 < self.margin < 1:
            raise UserError(
                f"margin is {self.margin}; allowed: above 0 and below 1; 0.02 is 2 percentage points of success"
            )
        for name in ("teacher_steps", "student_steps"):
            steps = getattr(self, name)
            if not steps or min(steps) < 1 or len(set(steps)) < len(steps):
                raise UserError(
                    f"{name} is {list(steps)}; allowed: one or more different numbers of steps, each 1 or more"
                )
        self._check_delays()
        good = isinstance(self.videos, (tuple, list)) and set(self.videos) <= set(self.seeds)
        if not good and not (isinstance(self.videos, int) and 0 <= self.videos <= self.episodes):
            raise UserError(
                f"videos is {self.videos}; allowed: 0 to episodes={self.episodes}, or a list of seeds from "
                f"{self.seeds[0]} to {self.seeds[-1]}"
            )

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

    @property
    def seeds(self) -> range:
        """Of all episodes."""
        return range(self.first_seed, self.first_seed + self.episodes)

    @property
    def delays(self) -> tuple[float | str, ...]:
        """All latencies; none where the world waits."""
        return () if self.delay is None else _as_tuple(self.delay)

    @property
    def measures(self) -> bool:
        """Whether latencies must be measured."""
        return MEASURED in self.delays

    @property
    def action_steps(self) -> tuple[int | None, ...]:
        """All numbers of actions played of a chunk; None for the policy's own."""
        return _as_tuple(self.n_action_steps)

    @property
    def video_seeds(self) -> tuple[int, ...]:
        """Of the episodes that are filmed."""
        if isinstance(self.videos, int):
            return tuple(range(self.first_seed, self.first_seed + self.videos))
        return tuple(self.videos)

    def contenders(self, folders: Mapping[Who, Path]) -> list[Contender]:
        """Everybody who plays in a world that waits, the teacher at its first step count first."""
        n = self.action_steps[0]
        return [Contender(who, folders[who], steps, n) for who in WHO for steps in self.steps[who]]

    @property
    def steps(self) -> dict[Who, tuple[int, ...]]:
        """Step counts of both policies."""
        return {"teacher": self.teacher_steps, "student": self.student_steps}


def evaluate_in_simulator(
    conditions: Conditions,
    folders: Mapping[Who, Path],
    settings: SimulatorSettings,
    folder: Path,
    latencies: Mapping[str, float],
) -> Success:
    """Plays and films what has not been played and filmed yet, and sums up.

    Args:
        conditions: environment, noise, device.
        folders: of both policies.
        settings: who plays how often.
        folder: of the results.
        latencies: measured, in ms, by ``teacher@10``; empty where no delay is ``measured``.
    """
    contenders = settings.contenders(folders)
    fps = conditions.env.make_config().fps
    trials = trials_of(contenders, settings.delays, settings.action_steps, latencies, fps)
    if trials:
        contenders = list(dict.fromkeys(trial.contender for trial in trials))
    with _Bar("episodes") as progress:
        episodes = simulate(
            conditions,
            contenders,
            settings.seeds,
            folder=folder,
            processes=settings.processes,
            progress=progress,
        )
    film(conditions, contenders, settings, folder)
    if trials:
        return reaction_of(trials, episodes, latencies, settings.margin)
    return success_of(episodes, settings.margin)


def film(
    conditions: Conditions, players: Sequence[Contender], settings: SimulatorSettings, folder: Path
) -> tuple[Path, ...]:
    """Films the chosen episodes that are not on film yet: the first teacher of all who play beside the first student.

    Returns:
        The videos, in the order of their seeds.
    """
    contenders = [next(one for one in players if one.name == who) for who in WHO]
    labels = json.dumps([contender.label for contender in contenders])
    files = [folder / VIDEOS / f"seed-{seed}.mp4" for seed in settings.video_seeds]
    filmed = folder / VIDEOS / _FILMED
    same = filmed.is_file() and filmed.read_text() == labels
    missing = [
        seed for seed, file in zip(settings.video_seeds, files, strict=True) if not (same and file.is_file())
    ]
    if not missing:
        return tuple(files)
    if not same:
        for stale in filmed.parent.glob("seed-*.mp4"):
            stale.unlink()
        filmed.parent.mkdir(parents=True, exist_ok=True)
        filmed.write_text(labels)
    with _Bar("videos") as progress:
        record_videos(
            conditions,
            contenders,
            missing,
            folder=folder / VIDEOS,
            processes=settings.processes,
            progress=progress,
        )
    return tuple(files)


def _as_tuple(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def _different(values: Sequence[Any]) -> bool:
    return 0 < len(values) == len(set(values))


def _is_latency(delay: Any) -> bool:
    return delay == MEASURED or (isinstance(delay, (int, float)) and 0 <= delay < math.inf)


class _Bar(Progress):
    """A progress bar moved by a number of finished things and of all."""

    def __init__(self, text: str) -> None:
        super().__init__(*Progress.get_default_columns(), console=Console(stderr=True), transient=True)
        self._task = self.add_task(text, total=None)

    def __enter__(self) -> _Bar:
        self.start()
        return self

    def __call__(self, done: int, total: int) -> None:
        self.update(self._task, completed=done, total=total)
