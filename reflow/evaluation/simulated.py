"""The simulator's part of an evaluation: who plays how often, asked beforehand whether it can be played at all.

Left out: playing (``reflow.simulator.play``), filming (``reflow.simulator.video``), and what success means
(``reflow.simulator.success``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress

from reflow.errors import UserError
from reflow.evaluation.folders import WHO, Who
from reflow.evaluation.plan import Plan, keep_plan
from reflow.metrics.paired_plan import PairedPlan, plan_pairs
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.play import finished_episodes, simulate
from reflow.simulator.success import Success, success_of
from reflow.simulator.video import record_videos

VIDEOS, _FILMED = "videos", "filmed.json"  # who is on those films


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
        n_action_steps: actions played of each chunk; None for the policy's own.
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
    n_action_steps: int | None = None
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

    @property
    def seeds(self) -> range:
        """Of all episodes that are asked for."""
        return self.plan.seeds

    def video_seeds(self, differing: Sequence[int] = ()) -> tuple[int, ...]:
        """Of the episodes that are filmed; ``differing``: those of which exactly one succeeded."""
        seeds: Sequence[int] = differing if self.videos_of == "differ" else self.seeds
        if isinstance(self.videos, int):
            return tuple(seeds[: self.videos])
        return tuple(seed for seed in self.videos if seed in seeds)

    def contenders(self, folders: Mapping[Who, Path]) -> list[Contender]:
        """Everybody who plays, the teacher at its first step count first."""
        steps = {"teacher": self.teacher_steps, "student": self.student_steps}
        return [Contender(who, folders[who], n) for who in WHO for n in steps[who]]


def evaluate_in_simulator(
    conditions: Conditions, folders: Mapping[Who, Path], settings: SimulatorSettings, folder: Path
) -> Success:
    """Writes the plan down, plays what has not been played yet, and sums up.

    What was played of the plan before is summed up too, though this command asks for less.

    Args:
        conditions: environment, noise, device.
        folders: of both policies.
        settings: who plays how often.
        folder: of the results.

    Raises:
        OtherPlanError: as `plan_in`.
    """
    contenders = settings.contenders(folders)
    finished = finished_episodes(conditions, contenders, folder)
    plan = keep_plan(folder, settings.plan, finished.values())
    Console().print("\n".join(plan.sentences()), soft_wrap=True, highlight=False)
    played = takewhile(
        lambda seed: all((who.name, who.num_steps, seed) in finished for who in contenders), plan.seeds
    )
    with _Bar("episodes") as progress:
        episodes = simulate(
            conditions,
            contenders,
            plan.seeds[: max(len(settings.seeds), sum(1 for _ in played))],
            folder=folder,
            processes=settings.processes,
            progress=progress,
        )
    success = success_of(episodes, plan.paired)
    return replace(success, comparisons=(*plan.sentences(), *success.comparisons))


def film(
    conditions: Conditions,
    folders: Mapping[Who, Path],
    settings: SimulatorSettings,
    folder: Path,
    differing: Sequence[int] = (),
) -> tuple[Path, ...]:
    """Films the chosen episodes that are not on film yet: the teacher at its first step count beside the student.

    Args:
        conditions: as of the evaluation.
        folders: of both policies.
        settings: which episodes.
        folder: of the results.
        differing: seeds of which exactly one of the two succeeded.

    Returns:
        The videos, in the order of their seeds.
    """
    contenders = [settings.contenders(folders)[0]]
    contenders.append(Contender("student", folders["student"], settings.student_steps[0]))
    labels = json.dumps([contender.label for contender in contenders])
    seeds = settings.video_seeds(differing)
    files = [folder / VIDEOS / f"seed-{seed}.mp4" for seed in seeds]
    filmed = folder / VIDEOS / _FILMED
    same = filmed.is_file() and filmed.read_text() == labels
    missing = [seed for seed, file in zip(seeds, files, strict=True) if not (same and file.is_file())]
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
