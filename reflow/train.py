"""Distills a teacher into a student: ``python -m reflow.train +fix=full32``.

Hydra ends here. In the run folder this leaves ``metrics.json`` (flat), ``report.html``, ``figures/*.png``,
``config.yaml``, and ``pretrained_model/``, an ordinary LeRobot policy folder. The same command again goes on where
it was stopped.
"""

from __future__ import annotations

import itertools
import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from lerobot.utils.constants import ACTION
from omegaconf import DictConfig, OmegaConf

from reflow.config import AUTO, PaddingSettings, check_settings, padding_name, run_directory
from reflow.config.run_folder import RunFolder, fingerprint
from reflow.config_path import CONFIG_DIR
from reflow.data import LeRobotDataModule
from reflow.data.robot import joint_names
from reflow.demo import embedded
from reflow.distill.callbacks import Measurement, with_probes
from reflow.distill.checkpoints import AtomicCheckpointIO
from reflow.distill.deliver import deliver_student
from reflow.distill.finite import NonFiniteLossError
from reflow.distill.harm import harm_of
from reflow.distill.module import Distillation
from reflow.distill.optim import OptimizerSettings
from reflow.distill.report import keep_for_report, report_run
from reflow.distill.student import make_student
from reflow.distill.success import measure_success
from reflow.distill.summary import print_summary
from reflow.doctor import padding_regime, recommend_fix
from reflow.endpoints.source import LiveEndpoints, Stored, StoredEndpoints
from reflow.endpoints.wanted import Source, Walks, fit
from reflow.flow import Draws, EndpointTime, PaddingRule, get_solver
from reflow.objectives import Objective
from reflow.policies import FlowPolicy, find_folder, load_policy, load_processors, with_velocity
from reflow.probes import Observations, PaddingAsDeployed, PaddingSupervision, measure
from reflow.quiet import hush
from reflow.reports.folder import REPORT, Words, versions_here

USER_ERRORS = (ValueError, FileNotFoundError, NonFiniteLossError, InstantiationException)


def train(config: DictConfig, run_dir: Path) -> dict[str, float]:
    """Runs, resumes or recognises one distillation.

    Args:
        config: ``conf/train.yaml``, composed.
        run_dir: the run's folder.

    Returns:
        The flat metrics that ``metrics.json`` holds.

    Raises:
        ValueError, FileNotFoundError: bad input, before any training.
        NonFiniteLossError: training diverged; stopped before the update.
    """
    check_settings(config)
    teacher_folder = find_folder(embedded.policy_path(config.teacher.path))
    config.run_dir = str(run_dir)
    identity = {
        **_plain(config),
        "teacher_fingerprint": fingerprint(teacher_folder),
    }
    run = RunFolder(run_dir)
    run.check(identity)
    if (found := run.finished()) is not None:
        metrics = _play(config, run, found)
        if metrics != found or not (run.path / REPORT).is_file():
            report_run(run.path)
        print_summary(metrics, run.path, already=True)
        return metrics

    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision(config.matmul_precision)
    teacher = with_velocity(load_policy(teacher_folder), config.velocity)
    preprocess, _ = load_processors(teacher_folder, teacher, rename=dict(config.data.rename or {}))
    objective: Objective = hydra.utils.instantiate(config.objective)
    stored = _stored(config, teacher, teacher_folder, objective) if config.pairs.path is not None else None
    data = LeRobotDataModule(
        teacher.config,
        preprocess,
        seed=config.seed,
        stored=stored,
        with_actions=objective.needs_actions,
        **_data_arguments(config),
    )
    if padding_name(config) == AUTO:
        _choose_fix(config, teacher, data)
    rule = _rule(config, teacher)
    if (harm := harm_of(rule, getattr(objective, "time", EndpointTime()))) is not None:
        warnings.warn(harm, stacklevel=2)
    student = make_student(teacher, teacher_folder, rule, **_plain(config.student))
    endpoints = (
        LiveEndpoints(
            teacher, get_solver(config.solver.name), config.teacher.num_steps or teacher.num_steps, rule
        )
        if stored is None
        else StoredEndpoints()
    )
    module = Distillation(
        teacher,
        student,
        objective,
        endpoints,
        rule,
        val_draws=config.val_draws,
        seed=config.seed,
        optimizer=OptimizerSettings(**_plain(config.optimizer)),
    )

    run.claim(identity)  # only now: bad input leaves no folder behind
    OmegaConf.save(config, run.path / "config.yaml", resolve=True)
    callbacks = with_probes(_instantiate(config.callbacks))
    trainer = _trainer(config, list(callbacks.values()), list(_instantiate(config.logger).values()))
    trainer.fit(module, data, ckpt_path=run.checkpoint, weights_only=False if run.checkpoint else None)
    if trainer.interrupted:
        raise SystemExit(f"interrupted; the same command goes on from {run.checkpoint}")

    measurements = [callback for callback in callbacks.values() if isinstance(callback, Measurement)]
    measurer = _trainer(config, measurements, [], limit_val_batches=1.0)
    measurer.validate(module, data, verbose=False)
    metrics = {key: value.item() for key, value in measurer.callback_metrics.items()}
    deliver_student(module, teacher_folder, run.student, data)
    keep_for_report(run.path, callbacks, _words(config, data))
    run.finish(metrics)
    metrics = _play(config, run, metrics)
    report_run(run.path, trainer.loggers, trainer.global_step)
    print_summary(metrics, run.path)
    return metrics


def _rule(config: DictConfig, teacher: FlowPolicy) -> PaddingRule:
    padding = config.padding
    return PaddingRule(teacher.space, padding.noise, padding.target, padding.loss, padding.inert)


def _stored(config: DictConfig, teacher: FlowPolicy, teacher_folder: Path, objective: Objective) -> Stored:
    """The cache that this run is to learn from, if it holds what the run would make live."""
    if not objective.needs_endpoints:
        raise ValueError(
            f"pairs.path={config.pairs.path} with {type(objective).__name__}, which learns from no endpoints; leave "
            "pairs.path out, or choose objective=reflow or objective=endpoint"
        )
    data = _data_arguments(config)
    trained_precision = config.trainer.get("precision", "32-true")
    walks = Walks(
        config.solver.name, config.teacher.num_steps, config.seed, trained_precision, config.matmul_precision
    )
    cache = fit(
        config.pairs.path,
        teacher,
        teacher_folder,
        _rule(config, teacher),
        Source(*(data[name] for name in ("repo_id", "root", "episodes", "val_episodes", "rename"))),
        walks,
        stored_precision=config.pairs.precision,
        trained=tuple(config.student.trained),
    )
    return Stored(cache, objective.draws, objective.draw_pool)


def _choose_fix(config: DictConfig, teacher: FlowPolicy, data: LeRobotDataModule) -> None:
    """Puts what the teacher and the student's steps call for in the place of ``auto``, and says why."""
    held_out = Observations({"teacher": teacher}, Draws(config.seed))
    seen = held_out.see_all(itertools.islice(data.val_dataloader(), 2))
    figures = measure(held_out, seen, [PaddingAsDeployed(), PaddingSupervision()]).metrics
    advice = recommend_fix(padding_regime(figures), figures, config.student.num_steps)
    fix = advice.fix or "full32"  # without padding they are all the same
    files = [Path(CONFIG_DIR, "fix", f"{name}.yaml") for name in fix.strip("[]").split(",")]
    chosen = [OmegaConf.load(file).padding for file in files]
    config.padding = OmegaConf.merge(OmegaConf.structured(PaddingSettings), *chosen)
    print(f"fix=auto chose {fix}: {advice.reason}")


def _play(config: DictConfig, run: RunFolder, metrics: dict[str, float]) -> dict[str, float]:
    """Adds success in the simulator, where it is asked for; a finished run stays finished without it."""
    settings = _plain(config.simulator)
    if settings["env"] is None:
        return metrics
    metrics = metrics | measure_success(run.student, run.path / "simulator", **settings)
    run.finish(metrics)
    return metrics


def _words(config: DictConfig, data: LeRobotDataModule) -> Words:
    overrides = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
    return Words(
        title=str(config.name),
        num_steps=config.student.num_steps,
        commands=(
            shlex.join(["python", "-m", "reflow.train", *overrides]),
            shlex.join(["python", "-m", "reflow.evaluate", f"student.path={config.run_dir}"]),
        ),
        versions=versions_here(),
        joint_names=joint_names(data.meta, ACTION, int(data.meta.features[ACTION]["shape"][0])),
    )


def _data_arguments(config: DictConfig) -> dict[str, Any]:
    arguments = _plain(config.data)
    if arguments["repo_id"] is None:
        arguments |= {"repo_id": embedded.REPO_ID, "root": embedded.DATA}
    return arguments


def _instantiate(section: DictConfig) -> dict[str, Any]:
    entries = {str(name): entry for name, entry in section.items() if entry is not None}
    return {name: hydra.utils.instantiate(entry) for name, entry in entries.items()}


def _plain(section: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(section, resolve=True))


def _trainer(config: DictConfig, callbacks: list[Any], loggers: list[Any], **changes: Any) -> L.Trainer:
    def has(kind: type) -> bool:
        return any(isinstance(callback, kind) for callback in callbacks)

    fixed = {
        "use_distributed_sampler": False,  # the order already knows rank and world size
        "check_val_every_n_epoch": None,
        "default_root_dir": config.run_dir,
        "plugins": [AtomicCheckpointIO()],
        "enable_progress_bar": has(L.pytorch.callbacks.ProgressBar),
        "enable_checkpointing": has(L.pytorch.callbacks.ModelCheckpoint),
    }
    return hydra.utils.instantiate(
        config.trainer, callbacks=callbacks, logger=loggers or False, **fixed, **changes
    )


def _check_devices(config: DictConfig) -> None:
    if HydraConfig.get().mode == RunMode.MULTIRUN and config.trainer.devices not in (1, "1"):
        raise ValueError(
            f"trainer.devices={config.trainer.devices} under --multirun: Lightning would start the whole sweep once "
            "per device; use trainer.devices=1, or one command per configuration"
        )


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="train")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    hush()
    try:
        check_settings(config)
        _check_devices(config)
        train(config, run_directory(config, list(HydraConfig.get().overrides.task)))
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
