"""Sections that the configurations share: one dataclass each, the defaults those of ``conf/``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TeacherSettings:
    """Which teacher, and how it integrates its endpoints."""

    path: str | None = None
    num_steps: int | None = None


@dataclass
class DataSettings:
    """Arguments of :class:`reflow.data.LeRobotDataModule`."""

    repo_id: str | None = None
    root: str | None = None
    episodes: list[int] | None = None
    val_episodes: list[int] | None = None
    batch_size: int = 32
    num_workers: int = 0
    prefetch_factor: int = 2
    pin_memory: bool = False
    preload: bool = False
    rename: dict[str, str] | None = None
    val_frames: int = 128
    allow_short_episodes: bool = False
    look_within: int = 0
    look_times: int = 1


@dataclass
class PaddingSettings:
    """Answers of :class:`reflow.flow.PaddingRule`: ``real`` or ``full``; or ``auto``, all three."""

    noise: str = "real"
    target: str = "real"
    loss: str = "real"
    inert: bool = False


@dataclass
class PairsSettings:
    """The folder of a pair cache to learn from, and how precise what is stored in it beside endpoints must be.

    Without a path the teacher walks as the student learns.
    """

    path: str | None = None
    precision: str = "float32"


@dataclass
class SolverSettings:
    """Name of a solver in :data:`reflow.flow.SOLVERS`."""

    name: str = "euler"


@dataclass
class StudentSettings:
    """What the student is to be."""

    num_steps: int = 1
    trained: list[str] = field(default_factory=lambda: ["velocity"])


@dataclass
class OptimizerValues:
    """Arguments of :class:`reflow.distill.optim.OptimizerSettings`; null keeps LeRobot's preset."""

    lr: float | None = None
    betas: list[float] | None = None
    eps: float | None = None
    weight_decay: float | None = None
    warmup_steps: int | None = None
    decay_steps: int | None = None
    decay_lr: float | None = None


@dataclass
class SimulatorValues:
    """Episodes that the finished student plays; no ``env``, no episodes."""

    env: dict[str, Any] | None = None
    episodes: int = 50
    steps: list[int] = field(default_factory=lambda: [1])
    first_seed: int = 100_000
    noise_seed: int = 7
    processes: int = 2
