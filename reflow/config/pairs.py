"""The schema of ``conf/pairs.yaml``."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig

from reflow.config.checks import check_arithmetic, check_least, check_own_data, check_padding, check_schema
from reflow.config.naming import AUTO, padding_name
from reflow.config.sections import DataSettings, PaddingSettings, SolverSettings, TeacherSettings
from reflow.flow import get_solver


@dataclass
class PairSettings:
    """The whole of ``conf/pairs.yaml``."""

    name: str = "demo"
    path: str | None = None
    seed: int = 0
    matmul_precision: str = "highest"
    velocity: str | None = None
    draws: int = 8
    store: Any = None
    store_precision: str = "float32"
    samples_per_shard: int = 64
    draws_at_once: int = 8
    part: str | None = None
    repair: bool = False
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    padding: PaddingSettings = field(default_factory=PaddingSettings)
    solver: SolverSettings = field(default_factory=SolverSettings)
    trainer: dict[str, Any] = field(default_factory=dict)


def check_pair_settings(config: DictConfig) -> None:
    """Rejects settings of a pair cache that cannot be.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    check_schema(config, PairSettings)
    check_own_data(config)
    check_arithmetic(config)
    get_solver(config.solver.name)
    if padding_name(config) == AUTO:
        raise ValueError(
            "padding is auto: a cache has to be of one rule; python -m reflow.train +fix=auto says which one it "
            "chooses, give that (+fix=full32)"
        )
    check_padding(config)
    check_least(
        (
            ("teacher.num_steps", config.teacher.num_steps, 1),
            ("draws", config.draws, 1),
            ("draws_at_once", config.draws_at_once, 1),
            ("samples_per_shard", config.samples_per_shard, 1),
            ("data.batch_size", config.data.batch_size, 1),
            ("seed", config.seed, 0),
        )
    )
