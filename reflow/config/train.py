"""``conf/train.yaml``: its schema, what is refused at once, and the objects that it describes."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import lightning as L
from omegaconf import DictConfig, OmegaConf

from reflow.cli import build, build_with, plain
from reflow.config.checks import check_devices, check_least, check_matmul_precision, check_padding
from reflow.config.inputs import open_inputs
from reflow.config.naming import AUTO, padding_name
from reflow.config.parts import (
    COMMON,
    GONE,
    PADDING,
    Teacher,
    data_arguments,
    rule_of,
    step_counts,
)
from reflow.config.run_folder import RunFolder
from reflow.config_path import CONFIG_DIR
from reflow.data import LeRobotDataModule, sources_of
from reflow.distill.checkpoints import AtomicCheckpointIO
from reflow.distill.harm import harm_of
from reflow.distill.logs import OneCSV
from reflow.distill.module import Distillation
from reflow.distill.optim import OptimizerSettings
from reflow.distill.sharded import ShardedDistillation
from reflow.distill.student import make_student
from reflow.distill.success import measure_success
from reflow.distill.trackio import TrackioLogger
from reflow.doctor import NOTHING_TO_TREAT, padding_regime, recommend_fix
from reflow.endpoints.source import LiveEndpoints, Stored, StoredEndpoints
from reflow.endpoints.wanted import Walks, fit
from reflow.errors import UserError
from reflow.flow import Draws, EndpointTime, Solver
from reflow.notices import note, warn
from reflow.objectives import Objective
from reflow.policies import FlowPolicy
from reflow.probes import Observations, PaddingAsDeployed, PaddingSupervision, measure
from reflow.schema import OPEN, schema, schema_of
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.runtime import check_environment

TRAIN = schema(
    **COMMON,
    name=str,
    run_dir=str | None,
    matmul_precision=str,
    velocity=str | None,
    padding=PADDING,
    objective=OPEN,
    time=OPEN,
    distance=OPEN,
    solver=OPEN,
    val_draws=int,
    method=str | None,
    pairs=schema(path=str | None, seed=int | None, precision=str),
    student=schema(num_steps=Any, trained=list[str], lora=int | None, lora_alpha=float | None),
    optimizer=schema_of(OptimizerSettings),
    trainer=OPEN,
    callbacks=OPEN,
    logger=OPEN,
    env=dict[str, Any] | None,
    simulator=schema_of(measure_success, but=("student", "folder", "env"), steps=list[int] | None),
)
RENAMED = GONE | {"simulator.env": "is now env (env=pick)"}
ALIASES = {"objective.val_draws": "val_draws"}


def check_settings(config: DictConfig) -> None:
    """Rejects settings of a training run that cannot be.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    data_arguments(config, build(config.teacher))
    check_padding(config)
    check_matmul_precision(config)
    step_counts(config)
    check_least(config, 1, "val_draws", "data.batch_size", "data.val_frames")
    check_least(config, 0, "seed", "pairs.seed")
    if config.student.lora is None and config.student.lora_alpha is not None:
        raise UserError(
            f"student.lora_alpha={config.student.lora_alpha} without student.lora; give a rank (student.lora=16)"
        )
    check_devices(config)
    if is_sharded(config) and config.callbacks.get("ema") is not None:
        raise UserError(
            "trainer=sharded with callbacks.ema: FSDP2 allows no average; give callbacks.ema=null"
        )
    if is_sharded(config) and config.optimizer.muon_lr is not None:
        raise UserError("trainer=sharded with optimizer.muon_lr, which takes whole matrices; leave one out")
    if config.pairs.path is not None and padding_name(config) == AUTO:
        raise UserError(
            f"+fix=auto with pairs.path={config.pairs.path}: a cache is of one rule; give the fix that it was made "
            "with (+fix=full32)"
        )


def build_distillation(config: DictConfig, source: Teacher) -> tuple[Distillation, LeRobotDataModule]:
    """The run's module and data; ``padding`` answers ``auto`` afterwards."""
    inputs = open_inputs(config, source, velocity=config.velocity)
    teacher = inputs.teacher
    if config.env is not None:  # what is played after training is refused before it
        env = EnvironmentSettings.from_mapping(plain(config.env))
        check_environment(env, {"teacher": teacher}, {"teacher": source.folder})
    objective: Objective = build(config.objective)
    _check_several(config, objective)
    solver: Solver = build(config.solver)
    stored = None
    if config.pairs.path is not None:
        stored = _stored(config, source, teacher, objective, solver, inputs.arguments)
    data = inputs.open_data(seed=config.seed, stored=stored, with_actions=objective.needs_actions)
    inputs.warn_of_complaints()
    if padding_name(config) == AUTO:
        _choose_fix(config, teacher, data)
    rule = rule_of(config, teacher.space)
    if teacher.padding != "free":
        regime = "masked" if teacher.padding == "masked" else "no padding"
        note(f"{regime}: {NOTHING_TO_TREAT[regime]}")
    elif (harm := harm_of(rule, getattr(objective, "time", EndpointTime()))) is not None:
        warn(harm)
    student = make_student(teacher, source.folder, rule, **plain(config.student))
    live = LiveEndpoints(teacher, solver, source.steps(teacher), rule)
    module = (ShardedDistillation if is_sharded(config) else Distillation)(
        teacher,
        student,
        objective,
        live if stored is None else StoredEndpoints(),
        rule,
        val_draws=config.val_draws,
        seed=config.seed,
        noise_seed=config.pairs.seed,
        optimizer=OptimizerSettings(**plain(config.optimizer)),
    )
    return module, data


def is_sharded(config: DictConfig) -> bool:
    """Whether what is trained is to be shared out among processes (FSDP2)."""
    strategy = plain(config.trainer.get("strategy"))
    return isinstance(strategy, dict) and str(strategy.get("_target_")).endswith(".ModelParallelStrategy")


def build_all(section: DictConfig) -> dict[str, Any]:
    """The objects of a section of sections, without those that are null."""
    return {str(name): build(entry) for name, entry in section.items() if entry is not None}


def build_loggers(section: DictConfig, first_step: int, run: str | None) -> list[Any]:
    """The loggers of a run that begins at this step; what a killed process had logged of it is forgotten.

    Args:
        section: ``logger``.
        first_step: that this process does.
        run: what tells the run from any other; None where it has no name yet.
    """
    begin: dict[str, dict[str, Any]] = {
        f"{OneCSV.__module__}.{OneCSV.__qualname__}": {"first_step": first_step},
        "lightning.pytorch.loggers.TensorBoardLogger": {"purge_step": first_step},
        "lightning.pytorch.loggers.WandbLogger": {"id": run},  # which it goes on with
        f"{TrackioLogger.__module__}.{TrackioLogger.__qualname__}": {"id": run},
    }
    entries = [plain(entry) for entry in section.values() if entry is not None]
    return [build(begin.get(str(entry["_target_"]), {}) | entry) for entry in entries]


def build_trainer(config: DictConfig, callbacks: list[Any], loggers: list[Any], **changes: Any) -> L.Trainer:
    """Lightning's trainer, with what a run depends on fixed."""
    folder = RunFolder(Path(config.run_dir))

    def has(kind: type) -> bool:
        return any(isinstance(callback, kind) for callback in callbacks)

    return build_with(
        plain(config.trainer) | changes,
        callbacks=callbacks,
        logger=loggers or False,
        use_distributed_sampler=False,  # the order already knows rank and world size
        check_val_every_n_epoch=None,
        default_root_dir=config.run_dir,
        plugins=[AtomicCheckpointIO(lambda: folder.id)],
        enable_progress_bar=has(L.pytorch.callbacks.ProgressBar),
        enable_checkpointing=has(L.pytorch.callbacks.ModelCheckpoint),
    )


def _check_several(config: DictConfig, objective: Objective) -> None:
    if len(step_counts(config)) > 1 and not objective.several_steps:
        raise UserError(
            f"student.num_steps={config.student.num_steps} with {type(objective).__name__}, whose student is for one "
            "number of steps; give one, or choose objective=reflow or objective=flow_matching"
        )


def _stored(
    config: DictConfig,
    source: Teacher,
    teacher: FlowPolicy,
    objective: Objective,
    solver: Solver,
    data: dict[str, Any],
) -> Stored:
    """The cache that this run is to learn from, if it holds what the run would make live."""
    if not objective.needs_endpoints:
        raise UserError(
            f"pairs.path={config.pairs.path} with {type(objective).__name__}, which learns from no endpoints; leave "
            "pairs.path out, or choose objective=reflow or objective=endpoint"
        )
    precision = config.trainer.get("precision", "32-true")
    cache = fit(
        config.pairs.path,
        teacher,
        source.folder,
        rule_of(config, teacher.space),
        sources_of(data),
        Walks(
            solver.name,
            source.num_steps,
            config.seed if config.pairs.seed is None else config.pairs.seed,
            precision,
            config.matmul_precision,
        ),
        stored_precision=config.pairs.precision,
        trained=tuple(config.student.trained),
    )
    return Stored(cache, objective.draws, objective.draw_pool)


def _choose_fix(config: DictConfig, teacher: FlowPolicy, data: LeRobotDataModule) -> None:
    """Puts what the teacher and the student's steps call for in the place of ``auto``, and says why."""
    held_out = Observations({"teacher": teacher}, Draws(config.seed))
    seen = held_out.see_all(itertools.islice(data.val_dataloader(), 2))
    figures = measure(held_out, seen, [PaddingAsDeployed(), PaddingSupervision()]).metrics
    advice = recommend_fix(padding_regime(figures), figures, step_counts(config)[0])
    fix = advice.fix or "full32"  # without padding they are all the same
    for name in ("unfixed", *fix.strip("[]").split(",")):
        config.padding.merge_with(OmegaConf.load(Path(CONFIG_DIR, "fix", f"{name}.yaml")).padding)
    print(f"fix=auto chose {fix}: {advice.reason}")
