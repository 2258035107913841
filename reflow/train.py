"""Distills a teacher into a student: ``python -m reflow.train +fix=full32``.

In the run folder this leaves ``metrics.json`` (flat), ``report.html``, ``figures/*.png``, ``config.yaml``, and
``pretrained_model/``, an ordinary LeRobot policy folder with a card. The same command again goes on where it was
stopped.
"""

from __future__ import annotations

import copy
import functools
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lerobot.utils.constants import ACTION
from omegaconf import DictConfig, OmegaConf

from reflow.cli import build, command, overrides, plain
from reflow.config import Teacher, run_directory
from reflow.config.cards import write_run_card
from reflow.config.identity import data_identity
from reflow.config.installed import check_loggers
from reflow.config.origin import note_origin
from reflow.config.parts import rule_of, step_counts
from reflow.config.run_folder import RunFolder, fingerprint
from reflow.config.train import (
    ALIASES,
    RENAMED,
    TRAIN,
    build_all,
    build_distillation,
    build_loggers,
    build_trainer,
    check_settings,
)
from reflow.data import LeRobotDataModule
from reflow.data.robot import joint_names
from reflow.distill.callbacks import Measurement, with_probes
from reflow.distill.checkpoints import step_of
from reflow.distill.deliver import deliver_student, rehearse_delivery
from reflow.distill.module import Distillation
from reflow.distill.report import keep_for_report, report_run
from reflow.distill.student import make_student
from reflow.distill.success import measure_success
from reflow.distill.summary import print_summary
from reflow.policies import rtc_hint, with_velocity
from reflow.policies.files import CARD
from reflow.reports.folder import REPORT, Words
from reflow.stopping import going_on
from reflow.versions import machine_here, versions_here


def train(config: DictConfig, run_dir: Path) -> dict[str, float]:
    """Runs, resumes or recognises one distillation.

    Args:
        config: ``conf/train.yaml``, composed.
        run_dir: the run's folder.

    Returns:
        The flat metrics that ``metrics.json`` holds.

    Raises:
        UserError: bad input, before any training.
        NonFiniteLossError: training diverged; stopped before the update.
    """
    check_settings(config)
    check_loggers(config)
    teacher: Teacher = build(config.teacher)
    config.run_dir = str(run_dir)
    identity = plain(config) | {"teacher_fingerprint": fingerprint(teacher.folder)}
    run, content = RunFolder(run_dir), functools.cache(lambda: data_identity(config, teacher))
    run.check(identity | (content() if run.begun else {}))
    if (found := run.finished()) is not None:
        metrics = _play(config, run, found)
        if metrics != found or not all(file.is_file() for file in (run.path / REPORT, run.student / CARD)):
            report_run(run.path)
            write_run_card(run.path)
        print_summary(metrics, run.path, hint=_hint(config, run), already=True)
        return metrics

    with run.alone(), going_on(run.goes_on):
        return _distill(config, run, teacher, lambda: identity | content())


def _distill(
    config: DictConfig, run: RunFolder, teacher: Teacher, identity: Callable[[], Mapping[str, Any]]
) -> dict[str, float]:
    L.seed_everything(config.seed, workers=True, verbose=False)
    torch.set_float32_matmul_precision(config.matmul_precision)
    module, data = build_distillation(config, teacher)
    _rehearse(config, teacher, module, data, run.path)
    begin = run.checkpoint()
    if run.first:
        run.claim(own := identity())  # only now: bad input leaves no folder behind
        OmegaConf.save(config, run.path / "config.yaml", resolve=True)
        note_origin(
            run.path, teacher, own["teacher_fingerprint"], teacher.steps(module.teacher), data.sources
        )
    callbacks = with_probes(build_all(config.callbacks))
    loggers = build_loggers(config.logger, step_of(begin, run.id), run.id)
    trainer = build_trainer(config, list(callbacks.values()), loggers)
    trainer.fit(module, data, ckpt_path=begin, weights_only=True if begin else None)

    measurements = [callback for callback in callbacks.values() if isinstance(callback, Measurement)]
    measurer = build_trainer(config, measurements, [], limit_val_batches=1.0)
    measurer.validate(module, data, verbose=False)
    metrics = {key: value.item() for key, value in measurer.callback_metrics.items()}
    student = module.trained_student()
    if not measurer.is_global_zero:  # of several processes one writes
        return metrics
    deliver_student(student, module.objective, teacher.folder, run.student, data)
    keep_for_report(run.path, callbacks, _words(config, data))
    run.finish(metrics)
    metrics = _play(config, run, metrics)
    report_run(run.path, trainer.loggers, trainer.global_step)
    write_run_card(run.path)
    print_summary(metrics, run.path, hint=_hint(config, run))
    return metrics


def _hint(config: DictConfig, run: RunFolder) -> str | None:
    given = config.objective.get("rtc_training_max_delay", 0)
    return rtc_hint(run.student, step_counts(config)[0], given)


def _rehearse(
    config: DictConfig, source: Teacher, module: Distillation, data: LeRobotDataModule, folder: Path
) -> None:
    """Delivers an untrained student, to be sure that the trained one can be."""
    teacher = with_velocity(module.teacher, "stock")
    rule = rule_of(config, teacher.space)
    rehearse_delivery(
        lambda: copy.deepcopy(make_student(teacher, source.folder, rule, **plain(config.student))),
        lambda: build(config.objective),
        source.folder,
        folder,
        data,
    )


def _play(config: DictConfig, run: RunFolder, metrics: dict[str, float]) -> dict[str, float]:
    """Adds success in the simulator, where it is asked for; a finished run stays finished without it."""
    if config.env is None:
        return metrics
    how = plain(config.simulator)
    steps = step_counts(config) if how["steps"] is None else how["steps"]
    played = measure_success(
        run.student, run.path / "simulator", env=plain(config.env), **how | {"steps": steps}
    )
    run.finish(metrics | played)
    return metrics | played


def _words(config: DictConfig, data: LeRobotDataModule) -> Words:
    return Words(
        title=str(config.name),
        num_steps=step_counts(config)[0],
        commands=(
            shlex.join(["python", "-m", "reflow.train", *overrides()]),
            shlex.join(["python", "-m", "reflow.evaluate", f"student.path={config.run_dir}"]),
        ),
        versions=versions_here(),
        machine=machine_here(),
        joint_names=joint_names(data.meta, ACTION, int(data.meta.features[ACTION]["shape"][0])),
    )


@command("train", TRAIN, renamed=RENAMED, aliases=ALIASES)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    check_settings(config)
    train(config, run_directory(config, overrides()))


if __name__ == "__main__":
    main()
