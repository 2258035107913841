"""The schema of ``conf/train.yaml``: a misspelt or mistyped key stops the run before anything is loaded.

A key merged by a ``+group`` file passes Hydra in silence; merging the composed configuration into these
dataclasses is what rejects it. Sections with a ``_target_`` are checked by the class they name. The other entry
points bring schemas of their own (:func:`check_schema`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reflow.demo.embedded import PREFIX
from reflow.policies import VelocityBy

Extents = ("real", "full")
AUTO = "auto"
MATMUL_PRECISIONS = ("highest", "high", "medium")


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
class ObjectiveSettings:
    """Noises per observation and step, noises per observation in all, and times per noise."""

    draws: int = 8
    draw_pool: int | None = None
    times: int = 1
    val_draws: int = 4


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
class SimulatorValues:
    """Episodes that the finished student plays; no ``env``, no episodes."""

    env: dict[str, Any] | None = None
    episodes: int = 50
    steps: list[int] = field(default_factory=lambda: [1])
    first_seed: int = 100_000
    noise_seed: int = 7
    processes: int = 2


@dataclass
class TrainSettings:
    """The whole of ``conf/train.yaml``."""

    name: str = MISSING
    run_dir: str | None = None
    seed: int = 0
    matmul_precision: str = "highest"
    velocity: str = "shared"
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    padding: PaddingSettings = field(default_factory=PaddingSettings)
    objective: ObjectiveSettings = field(default_factory=ObjectiveSettings)
    solver: SolverSettings = field(default_factory=SolverSettings)
    pairs: PairsSettings = field(default_factory=PairsSettings)
    student: StudentSettings = field(default_factory=StudentSettings)
    optimizer: OptimizerValues = field(default_factory=OptimizerValues)
    time: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    callbacks: dict[str, Any] = field(default_factory=dict)
    logger: dict[str, Any] = field(default_factory=dict)
    simulator: SimulatorValues = field(default_factory=SimulatorValues)


def check_schema(config: DictConfig, schema: type) -> None:
    """Rejects keys that a schema does not know, and values of the wrong type.

    Args:
        config: composed.
        schema: a dataclass, its sections dataclasses.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    try:
        OmegaConf.merge(OmegaConf.structured(schema), config)
    except OmegaConfBaseException as error:
        key = error.full_key or "?"
        section = key.rpartition(".")[0]
        known = OmegaConf.structured(schema)
        allowed = list(OmegaConf.select(known, section) if section else known)
        raise ValueError(
            f"configuration key {key}: {str(error).splitlines()[0]}. "
            f"Keys {'of ' + section if section else 'at the top'}: {', '.join(map(str, allowed))}"
        ) from error


def check_settings(config: DictConfig) -> None:
    """Rejects settings of a training run that cannot be.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    check_schema(config, TrainSettings)
    values = {name: config.padding[name] for name in ("noise", "target", "loss")}
    for name, value in values.items():
        if value not in Extents and set(values.values()) != {AUTO}:
            raise ValueError(
                f"padding.{name}={value}; allowed: {' or '.join(Extents)}, or {AUTO} for all three (+fix=auto)"
            )
    check_arithmetic(config)
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
    if config.pairs.path is not None and padding_name(config) == AUTO:
        raise ValueError(
            f"+fix=auto with pairs.path={config.pairs.path}: a cache is of one rule; give the fix that it was made "
            "with (+fix=full32)"
        )
    pool, draws = config.objective.draw_pool, config.objective.draws
    if pool is not None and pool < draws:
        raise ValueError(
            f"objective.draw_pool={pool} with objective.draws={draws}; allowed: {draws} or more, or null for noises "
            "that never come twice"
        )
    check_own_data(config)


def check_arithmetic(config: DictConfig) -> None:
    """Rejects ways of computing that do not exist.

    Raises:
        ValueError: names the key, what is allowed there, and the value.
    """
    for name, allowed, what in (
        ("matmul_precision", MATMUL_PRECISIONS, "torch.set_float32_matmul_precision"),
        ("velocity", get_args(VelocityBy), "reflow.policies.base.VelocityBy"),
    ):
        if config[name] not in allowed:
            raise ValueError(f"{name}={config[name]}; allowed: {', '.join(allowed)} ({what})")


def check_own_data(config: DictConfig) -> None:
    """Refuses the embedded data set beside a teacher, or a folder, of one's own.

    Raises:
        ValueError: ``data.repo_id`` is missing.
    """
    own_teacher = not (config.teacher.path or PREFIX).startswith(PREFIX)
    if config.data.repo_id is None and (config.data.root is not None or own_teacher):
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
    if padding.noise == AUTO:
        return AUTO
    if padding.inert:
        return "valid14"
    full = [name for name in ("noise", "target", "loss") if padding[name] == "full"]
    names = {"noise": "full_noise", "target": "keep_target", "loss": "full_loss"}
    if len(full) == 3:
        return "full32"
    return "+".join(names[name] for name in full) or "unfixed"
