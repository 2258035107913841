"""The simulator's part of an evaluation: a plan, its episodes, what they say, and films of some.

Left out: how much is played (``reflow.evaluation.simulator_settings``), playing (``reflow.simulator.play``), filming
(``reflow.simulator.video``), and what success means (``reflow.simulator.success``, ``reflow.evaluation.reaction``).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import takewhile
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from reflow.evaluation.folders import WHO, Who
from reflow.evaluation.plan import keep_plan, played_otherwise
from reflow.evaluation.reaction import reaction_of, trials_of
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.play import finished_episodes, simulate
from reflow.simulator.success import Success, success_of
from reflow.simulator.video import record_videos

VIDEOS, _FILMED = "videos", "filmed.json"  # who is on those films


def evaluate_in_simulator(
    conditions: Conditions,
    folders: Mapping[Who, Path],
    settings: SimulatorSettings,
    folder: Path,
    latencies: Mapping[str, float],
    joints: Collection[int] = (),
) -> Success:
    """Writes the plan down, plays and films what has not been played and filmed yet, and sums up.

    What was played of the plan before is summed up too, though this command asks for less.

    Args:
        conditions: environment, noise, device.
        folders: of both policies.
        settings: who plays how often.
        folder: of the results.
        latencies: measured, in ms, by ``teacher@10``; empty where no delay is ``measured``.
        joints: action dimensions whose jumps are told, where there is a delay.

    Raises:
        OtherPlanError: as `plan_in`.
    """
    contenders = settings.contenders(folders)
    fps = conditions.env.make_config().fps
    trials = trials_of(contenders, settings.delays, settings.action_steps, latencies, fps, settings.ways)
    if trials:
        contenders = list(dict.fromkeys(trial.contender for trial in trials))
    finished = finished_episodes(conditions, contenders, folder)
    plan = keep_plan(folder, settings.plan, finished.values())
    said = plan.sentences()
    if not trials:
        said += played_otherwise(plan, finished.values(), settings.action_steps[0])
    Console().print("\n".join(said), soft_wrap=True, highlight=False)
    played = takewhile(lambda seed: all(who.key(seed) in finished for who in contenders), plan.seeds)
    with _Bar("episodes") as progress:
        episodes = simulate(
            conditions,
            contenders,
            plan.seeds[: max(len(settings.seeds), sum(1 for _ in played))],
            folder=folder,
            processes=settings.processes,
            progress=progress,
        )
    success = (
        reaction_of(trials, episodes, latencies, plan.paired, joints)
        if trials
        else success_of(episodes, plan.paired)
    )
    film(conditions, contenders, settings, folder, success.differing)
    return replace(success, comparisons=(*said, *success.comparisons))


def film(
    conditions: Conditions,
    players: Sequence[Contender],
    settings: SimulatorSettings,
    folder: Path,
    differing: Sequence[int] = (),
) -> tuple[Path, ...]:
    """Films the chosen episodes that are not on film yet: the first teacher of all who play beside the first student.

    Args:
        conditions: as of the evaluation.
        players: all who play.
        settings: which episodes.
        folder: of the results.
        differing: seeds of which exactly one of the two succeeded.

    Returns:
        The videos, in the order of their seeds.
    """
    contenders = [next(one for one in players if one.name == who) for who in WHO]
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
