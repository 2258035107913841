"""What a report says: verdict, figures, arrays, episodes, latency, and how it was made.

Left out: how it looks (``reflow.reports.page``), and where it is found on disk (``reflow.reports.folder``).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """What a reader shall know who reads nothing else.

    Attributes:
        sentence: one sentence.
        good: None where what was measured does not decide.
    """

    sentence: str
    good: bool | None = None


@dataclass(frozen=True)
class SuccessRow:
    """Success of one contender in the simulator.

    Attributes:
        name: ``teacher`` or ``student``.
        num_steps: integration steps it played with.
        episodes: played.
        successes: of them.
        low, high: 95 % Wilson interval of the rate, in [0, 1].
        mean_reward: mean of the best reward of each episode.
        mean_length: control steps.
    """

    name: str
    num_steps: int
    episodes: int
    successes: int
    low: float
    high: float
    mean_reward: float
    mean_length: float


@dataclass(frozen=True)
class Latency:
    """Time for one chunk in ms, median and 95th percentile.

    Attributes:
        name: ``teacher`` or ``student``.
        nfe: velocities per chunk.
        prefix_p50_ms, prefix_p95_ms: cameras, language and state, once a chunk.
        velocity_p50_ms, velocity_p95_ms: all velocities of a chunk.
        total_p50_ms, total_p95_ms: both.
    """

    name: str
    nfe: int
    prefix_p50_ms: float
    prefix_p95_ms: float
    velocity_p50_ms: float
    velocity_p95_ms: float
    total_p50_ms: float
    total_p95_ms: float


@dataclass(frozen=True)
class Content:
    """Everything a report is made of; what is empty leaves its section out.

    Attributes:
        title: of the page.
        verdict: at its head.
        metrics: flat, as in ``metrics.json``.
        arrays: float32, as in ``arrays.safetensors``: ``velocity_error/student`` [time bins, d],
            ``histogram/<who>/{endpoint,velocity,noise}/{real,padding}`` [n], ``fan/<who>`` [k, s + 1, d] with
            ``fan/<who>/times`` [s + 1], ``endpoint_error_joint/student`` [n, a] with
            ``endpoint_error_joint/nfe`` [n].
        success: simulator results, one row per contender.
        comparisons: what tests of two contenders on the same episodes say, a plain sentence each.
        latency: one row per contender and number of steps.
        videos: ``.mp4`` files.
        commands: that make this again.
        configuration: YAML text.
        versions: of packages, by name.
        machine: that measured, in a few words.
        joint_names: of the real dimensions, in order; their number is the real width.
    """

    title: str
    verdict: Verdict
    metrics: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    success: tuple[SuccessRow, ...] = ()
    comparisons: tuple[str, ...] = ()
    latency: tuple[Latency, ...] = ()
    videos: tuple[Path, ...] = ()
    commands: tuple[str, ...] = ()
    configuration: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    machine: str = ""
    joint_names: tuple[str, ...] = ()
