"""Everything that can be measured of a student without a robot or a simulator, on held-out observations.

The probes, and on what they are shown (:mod:`reflow.probes`). Left out: the simulator (``reflow.simulator.play``).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.progress import track

from reflow.data import LeRobotDataModule
from reflow.data.robot import Robot
from reflow.errors import UserError
from reflow.policies import Batch
from reflow.probes import (
    Distributions,
    EndpointErrors,
    Figures,
    FlowOfOneObservation,
    Motion,
    Observations,
    Observed,
    PaddingAsDeployed,
    PhysicalErrors,
    StraightnessOfFlows,
    VelocityErrors,
    measure,
)
from reflow.probes.distributions import LEAST_NOISES
from reflow.probes.latency import time_all
from reflow.probes.observations import STUDENT, TEACHER, episode_looks, load_rows


@dataclass(frozen=True)
class OfflineSettings:
    """How much is measured.

    Attributes:
        nfe: numbers of Euler steps whose endpoints are compared.
        reference_steps: steps of the teacher's reference solution.
        val_draws: noises per observation of endpoint and velocity errors, as of a training run.
        time_bins: rows of the velocity error profile.
        straightness_steps: points along a trajectory.
        distribution_frames: observations whose distributions are compared, in whole batches.
        noises: per observation there.
        student_nfe: step counts of the student whose distribution and motion are compared; None for its own.
        fan_noises: trajectories in the picture of one observation.
        latency_chunks: timed per policy and step count; 0 for none.
        latency_nfe: step counts that are timed.

    Raises:
        UserError: a number is out of range.
    """

    nfe: tuple[int, ...] = (1, 2, 3, 4, 5, 10, 50)
    reference_steps: int = 100
    val_draws: int = 4
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
                raise UserError(
                    f"{name} is {list(steps)}; allowed: one or more different numbers of steps, each 1 or more"
                )
        least = dict.fromkeys(
            ("reference_steps", "val_draws", "time_bins", "straightness_steps", "distribution_frames"), 1
        )
        for name, allowed in (least | {"fan_noises": 2}).items():
            if getattr(self, name) < allowed:
                raise UserError(f"{name} is {getattr(self, name)}; allowed: {allowed} or more")
        if self.latency_chunks < 0:
            raise UserError(f"latency_chunks is {self.latency_chunks}; allowed: 0 or more; 0 times nothing")
        if self.noises < LEAST_NOISES:
            raise UserError(
                f"noises is {self.noises}; allowed: {LEAST_NOISES} or more; distances, variances and modes of a "
                "distribution cannot be told from fewer samples of it"
            )


def evaluate_offline(
    by: Observations, data: LeRobotDataModule, robot: Robot, settings: OfflineSettings, *, show: bool = True
) -> Figures:
    """Measures a student and its teacher on held-out observations.

    Args:
        by: the two, with their postprocessors.
        data: its held-out episodes are measured on.
        robot: that recorded them.
        settings: how much is measured.
        show: a progress bar.

    Returns:
        All figures, also those that are not finite; same settings, same figures.
    """
    teacher, student = by.policies[TEACHER], by.policies[STUDENT]
    n_action_steps = teacher.config.n_action_steps
    student_nfe = tuple(settings.student_nfe or (student.num_steps,))
    looks = episode_looks(data, n_action_steps)
    rows = [row for episode in looks for row in episode]
    contenders = [(TEACHER, teacher.num_steps), *((STUDENT, n) for n in student_nfe)]
    nfe, reference_steps, who = settings.nfe, settings.reference_steps, tuple(by.policies)

    def seen(text: str, batches: Iterable[Batch], total: int) -> Iterable[Observed]:
        console = Console(stderr=True)
        bar = track(batches, text, total=total, console=console, transient=True, disable=not show)
        return map(by.see, bar)

    with torch.inference_mode():
        frames = data.val_dataloader()
        found = measure(
            by,
            seen("held-out frames", frames, len(frames)),
            [
                EndpointErrors(nfe, reference_steps, to_reference=True),
                PhysicalErrors(robot.joints, nfe, reference_steps),
                VelocityErrors(settings.time_bins),
                StraightnessOfFlows(settings.straightness_steps, who, robot.joints),
                PaddingAsDeployed(),
                Distributions(student_nfe, observations=settings.distribution_frames, noises=settings.noises),
            ],
        )
        motion = Motion(robot, n_action_steps, [len(episode) for episode in looks], contenders)
        batches = math.ceil(len(rows) / data.batch_size)
        found |= measure(by, seen("held-out episodes", load_rows(data, rows), batches), [motion])
        first = by.see(next(load_rows(data, rows[:1])))
        found |= measure(by, [first], [FlowOfOneObservation(settings.fan_noises)])
        if settings.latency_chunks:
            found |= time_all(first, settings.latency_nfe, settings.latency_chunks)
    return found
