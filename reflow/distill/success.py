"""Success of the finished student in the simulator, as one more figure of its run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.play import simulate
from reflow.simulator.success import success_of


def measure_success(
    student: Path,
    folder: Path,
    *,
    env: Mapping[str, Any],
    episodes: int,
    steps: Sequence[int],
    first_seed: int,
    noise_seed: int,
    processes: int,
) -> dict[str, float]:
    """Plays the student; what was played before is not played again.

    Args:
        student: its ``pretrained_model`` folder.
        folder: where the journal of episodes goes.
        env: flat keys of ``conf/env/*.yaml``.
        episodes: per step count, 1 or more.
        steps: step counts of the student.
        first_seed: of the episodes.
        noise_seed: of the noise.
        processes: that play in parallel.

    Returns:
        ``success/student@n`` and, below it, interval, reward, length and number of episodes.
    """
    played = simulate(
        Conditions(EnvironmentSettings.from_mapping(env), noise_seed),
        [Contender("student", student, n) for n in steps],
        range(first_seed, first_seed + episodes),
        folder=folder,
        processes=processes,
    )
    return dict(success_of(played).metrics)
