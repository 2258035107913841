"""The simulator's part of an evaluation: who plays how often, asked beforehand whether it can be played at all.

Left out: playing (``reflow.simulator.play``), filming (``reflow.simulator.video``), and what success means
(``reflow.simulator.success``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from reflow.errors import UserError
from reflow.evaluation.folders import WHO, Who
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
        n_action_steps: actions played of each chunk; None for the policy's own.
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
    n_action_steps: int | None = None
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
        good = isinstance(self.videos, (tuple, list)) and set(self.videos) <= set(self.seeds)
        if not good and not (isinstance(self.videos, int) and 0 <= self.videos <= self.episodes):
            raise UserError(
                f"videos is {self.videos}; allowed: 0 to episodes={self.episodes}, or a list of seeds from "
                f"{self.seeds[0]} to {self.seeds[-1]}"
            )

    @property
    def seeds(self) -> range:
        """Of all episodes."""
        return range(self.first_seed, self.first_seed + self.episodes)

    @property
    def video_seeds(self) -> tuple[int, ...]:
        """Of the episodes that are filmed."""
        if isinstance(self.videos, int):
            return tuple(range(self.first_seed, self.first_seed + self.videos))
        return tuple(self.videos)

    def contenders(self, folders: Mapping[Who, Path]) -> list[Contender]:
        """Everybody who plays, the teacher at its first step count first."""
        steps = {"teacher": self.teacher_steps, "student": self.student_steps}
        return [Contender(who, folders[who], n) for who in WHO for n in steps[who]]


def evaluate_in_simulator(
    conditions: Conditions, folders: Mapping[Who, Path], settings: SimulatorSettings, folder: Path
) -> Success:
    """Plays what has not been played yet, and sums up.

    Args:
        conditions: environment, noise, device.
        folders: of both policies.
        settings: who plays how often.
        folder: of the results.
    """
    with _Bar("episodes") as progress:
        episodes = simulate(
            conditions,
            settings.contenders(folders),
            settings.seeds,
            folder=folder,
            processes=settings.processes,
            progress=progress,
        )
    return success_of(episodes, settings.margin)


def film(
    conditions: Conditions, folders: Mapping[Who, Path], settings: SimulatorSettings, folder: Path
) -> tuple[Path, ...]:
    """Films the chosen episodes that are not on film yet: the teacher at its first step count beside the student.

    Returns:
        The videos, in the order of their seeds.
    """
    contenders = [settings.contenders(folders)[0]]
    contenders.append(Contender("student", folders["student"], settings.student_steps[0]))
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
