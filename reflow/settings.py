"""The schema of ``conf/train.yaml``: a misspelt or mistyped key stops the run before anything is loaded.

A key merged by a ``+group`` file passes Hydra in silence; merging the composed configuration into these
dataclasses is what rejects it. Sections with a ``_target_`` are checked by the class they name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

Extents = ("real", "full")


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
    """Answers of :class:`reflow.flow.PaddingRule`: ``real`` or ``full``."""

    noise: str = "real"
    target: str = "real"
    loss: str = "real"
    inert: bool = False


@dataclass
class ObjectiveSettings:
    """Noises per observation and step, and times per noise."""

    draws: int = 8
    times: int = 1
    val_draws: int = 4


@dataclass
class SolverSettings:
    """Name of a solver in :data:`reflow.flow.SOLVERS`."""

    name: str = "euler"


@dataclass
class StudentSettings:
    """What the student is to be."""

    num_steps: int = 1
    train_state_proj: bool = False


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
class TrainSettings:
    """The whole of ``conf/train.yaml``."""

    name: str = MISSING
    run_dir: str | None = None
    seed: int = 0
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    padding: PaddingSettings = field(default_factory=PaddingSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    solver: SolverSettings = field(default_factory=SolverSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    optimizer: OptimizerValues = field(default_factory=OptimizerValues)
    time: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)


def check_settings(config: DictConfig) -> None:
    """Rejects keys the schema does not know, and values of the wrong type.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    try:
        OmegaConf.merge(OmegaConf.structured(TrainSettings), config)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        section = key.rpartition(".")[0]
        known = OmegaConf.structured(TrainSettings)
        allowed = list(OmegaConf.select(known, section) if section else known)
        raise ValueError(
            f"configuration key {key}: {str(error).splitlines()[0]}. "
            f"Keys {'of ' + section if section else 'at the top'}: {', '.join(map(str, allowed))}"
        ) from error
    for name in (entry.name for entry in fields(PaddingSettings) if entry.name != "inert"):
        value = config.padding[name]
        if value not in Extents:
            raise ValueError(f"padding.{name}={value}; allowed: {' or '.join(Extents)}")
    if config.teacher.num_steps is not None and config.teacher.num_steps < 1:
        raise ValueError(
            f"teacher.num_steps={config.teacher.num_steps}; allowed: 1 or more, or null for its own"
        )
    for name, value, least in (
        ("student.num_steps", config.student.num_steps, 1),
        ("objective.draws", config.objective.draws, 1),
        ("objective.times", config.objective.times, 1),
        ("objective.val_draws", config.objective.val_draws, 1),
        ("data.batch_size", config.data.batch_size, 1),
        ("data.val_frames", config.data.val_frames, 1),
        ("seed", config.seed, 0),
    ):
        if value < least:
            raise ValueError(f"{name}={value}; allowed: {least} or more")
    if config.data.repo_id is None and (config.data.root is not None or config.teacher.path is not None):
        raise ValueError(
            "data.repo_id is null, but the teacher or the data are your own; name the data set "
            "(data.repo_id=me/my_data, and data.root=DIR where it is a local folder)"
        )


def run_directory(config: DictConfig, overrides: list[str]) -> Path:
    """The run's folder, a function of its configuration: the same command finds it again.

    Args:
        config: the composed configuration.
        overrides: the command's own overrides.

    Returns:
        ``run_dir`` where given; else ``outputs/<name>`` for the recommended padding rule (all full), and
        ``outputs/<name>-<rule>-<other overrides>`` for anything else.
    """
    if config.run_dir is not None:
        return Path(config.run_dir).resolve()
    parts = [] if padding_name(config) == "full32" else [padding_name(config)]
    silent = ("fix=", "name=", "run_dir=", "experiment=", "hydra")
    rest = [override.lstrip("+") for override in overrides]
    parts += sorted(override for override in rest if not override.startswith(silent))
    # No "," and no "=": the path is itself an argument of later commands.
    slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in "-".join(parts))
    return Path("outputs", f"{config.name}-{slug}" if slug else config.name).resolve()


def padding_name(config: DictConfig) -> str:
    """The fix that these padding settings amount to, as ``conf/fix`` names it."""
    padding = config.padding
    if padding.inert:
        return "valid14"
    full = [name for name in ("noise", "target", "loss") if padding[name] == "full"]
    names = {"noise": "full_noise", "target": "keep_target", "loss": "full_loss"}
    if len(full) == 3:
        return "full32"
    return "+".join(names[name] for name in full) or "unfixed"
