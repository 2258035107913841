"""The schema of ``conf/train.yaml``: a misspelt or mistyped key stops the run before anything is loaded.

Sections with a ``_target_`` are checked by the class they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import MISSING, DictConfig

from reflow.config.checks import check_arithmetic, check_least, check_own_data, check_padding, check_schema
from reflow.config.naming import AUTO, padding_name
from reflow.config.sections import (
    DataSettings,
    OptimizerValues,
    PaddingSettings,
    PairsSettings,
    SimulatorValues,
    SolverSettings,
    StudentSettings,
    TeacherSettings,
)


@dataclass
class TrainSettings:
    """The whole of ``conf/train.yaml``."""

    name: str = MISSING
    run_dir: str | None = None
    seed: int = 0
    matmul_precision: str = "highest"
    velocity: str | None = None
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    padding: PaddingSettings = field(default_factory=PaddingSettings)
    objective: dict[str, Any] = field(default_factory=dict)
    val_draws: int = 4
    solver: SolverSettings = field(default_factory=SolverSettings)
    pairs: PairsSettings = field(default_factory=PairsSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    optimizer: OptimizerValues = field(default_factory=OptimizerValues)
    time: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    simulator: SimulatorValues = field(default_factory=SimulatorValues)


def check_settings(config: DictConfig) -> None:
    """Rejects settings of a training run that cannot be.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    check_schema(config, TrainSettings)
    check_padding(config)
    check_arithmetic(config)
    if config.teacher.num_steps is not None and config.teacher.num_steps < 1:
        raise ValueError(
            f"teacher.num_steps={config.teacher.num_steps}; allowed: 1 or more, or null for its own"
        )
    check_least(
        (
            ("student.num_steps", config.student.num_steps, 1),
            ("val_draws", config.val_draws, 1),
            ("data.batch_size", config.data.batch_size, 1),
            ("data.val_frames", config.data.val_frames, 1),
            ("seed", config.seed, 0),
        )
    )
    if config.pairs.path is not None and padding_name(config) == AUTO:
        raise ValueError(
            f"+fix=auto with pairs.path={config.pairs.path}: a cache is of one rule; give the fix that it was made "
            "with (+fix=full32)"
        )
    check_own_data(config)
