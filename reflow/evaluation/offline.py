"""Everything that can be measured of a student without a robot or a simulator, on held-out observations.

Each batch is encoded once and shown to every probe. Left out: the simulator (``reflow.simulator.play``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track

from reflow.data import LeRobotDataModule
from reflow.data.robot import Robot
from reflow.policies import Batch
from reflow.probes.distributions import LEAST_NOISES, Distributions
from reflow.probes.endpoints import EndpointErrors
from reflow.probes.fan import fan
from reflow.probes.figures import Figures, Probe
from reflow.probes.motion import Motion
from reflow.probes.observations import Pair, Who, episode_looks, load_rows
from reflow.probes.padding import PaddingAsDeployed
from reflow.probes.straightness import StraightnessOfFlows
from reflow.probes.timing import time_both
from reflow.probes.velocity import VelocityErrors


@dataclass(frozen=True)
class OfflineSettings:
    """How much is measured.

    Attributes:
        nfe: numbers of Euler steps whose endpoints are compared.
        reference_steps: steps of the teacher's reference solution.
        draws: noises per observation of endpoint and velocity errors; as a training run's ``val_draws``.
        time_bins: rows of the velocity error profile.
        straightness_steps: points along a trajectory.
        distribution_frames: observations whose distributions are compared, in whole batches.
        noises: per observation there.
        student_nfe: step counts of the student whose distribution and motion are compared; None for its own.
        fan_noises: trajectories in the picture of one observation.
        latency_chunks: timed per policy and step count; 0 for none.
        latency_nfe: step counts that are timed.

    Raises:
        ValueError: a number is out of range.
    """

    nfe: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 50)
    reference_steps: int = 100
    draws: int = 4
    time_bins: int = 10
    straightness_steps: int = 10
    distribution_frames: int = 32
    noises: int = 64
    student_nfe: tuple[int, ...] | None = None
    fan_noises: int = 32
    latency_chunks: int = 50
    latency_nfe: tuple[int, ...] = (1, 2, 4, 10)

    def __post_init__(self) -> None:
        for name in ("nfe", "student_nfe", "latency_nfe"):
            steps = getattr(self, name)
            if steps is not None and (not steps or min(steps) < 1 or len(set(steps)) < len(steps)):
                raise ValueError(
                    f"{name} is {list(steps)}; allowed: one or more different numbers of steps, each 1 or more"
                )
        for name in (
            "reference_steps",
            "draws",
            "time_bins",
            "straightness_steps",
            "distribution_frames",
            "fan_noises",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        if self.latency_chunks < 0:
            raise ValueError(f"latency_chunks is {self.latency_chunks}; allowed: 0 or more; 0 times nothing")
        if self.noises < LEAST_NOISES:
            raise ValueError(
                f"noises is {self.noises}; allowed: {LEAST_NOISES} or more; distances, variances and modes of a "
                "distribution cannot be told from fewer samples of it"
            )


def evaluate_offline(
    pair: Pair, data: LeRobotDataModule, robot: Robot, settings: OfflineSettings, *, show: bool = True
) -> Figures:
    """Measures a student and its teacher on held-out observations.

    Args:
        pair: the two.
        data: its held-out episodes are looked at.
        robot: that recorded them.
        settings: how much is measured.
        show: a progress bar.

    Returns:
        All figures; same settings, same figures.
    """
    space, student = pair.teacher.policy.space, pair.student.policy
    n_action_steps = pair.teacher.policy.config.n_action_steps
    student_nfe = tuple(settings.student_nfe or (student.num_steps,))
    frames = data.val_dataloader()
    probes: list[Probe] = [
        EndpointErrors(space, robot.joints, settings.nfe, settings.reference_steps),
        VelocityErrors(space, student.num_steps, settings.time_bins),
        StraightnessOfFlows(space, robot.joints, settings.straightness_steps),
        PaddingAsDeployed(space, len(frames)),
        Distributions(space, student_nfe, observations=settings.distribution_frames, noises=settings.noises),
    ]
    looks = episode_looks(data, n_action_steps)
    rows = [row for episode in looks for row in episode]
    contenders: list[tuple[Who, int]] = [("teacher", pair.teacher.policy.num_steps)]
    contenders += [("student", n) for n in student_nfe]
    motion = Motion(robot, n_action_steps, [len(episode) for episode in looks], contenders)
    batches = math.ceil(len(rows) / data.batch_size)
    with torch.inference_mode():
        _show(pair, frames, probes, settings.draws, _Bar("held-out frames", len(frames), show))
        _show(pair, load_rows(data, rows), [motion], 1, _Bar("held-out episodes", batches, show))
        first = next(load_rows(data, rows[:1]))
        found = fan(pair.observe(first), settings.fan_noises)
        if settings.latency_chunks:
            found |= time_both(pair, first, settings.latency_nfe, settings.latency_chunks)
        for probe in (*probes, motion):
            found |= probe.result()
    return found


@dataclass(frozen=True)
class _Bar:
    text: str
    total: int
    show: bool


def _show(pair: Pair, batches: Iterable[Batch], probes: Sequence[Probe], draws: int, bar: _Bar) -> None:
    console = Console(stderr=True)
    for batch in track(
        batches, bar.text, total=bar.total, console=console, transient=True, disable=not bar.show
    ):
        seen = pair.observe(batch, draws)
        for probe in probes:
            probe.update(seen)
