"""What is a student worth? ``python -m reflow.evaluate student.path=outputs/demo +env=pick``.

Hydra ends here. In the output folder this leaves ``metrics.json`` (flat), ``arrays.safetensors``, ``report.html``
and, from the simulator, ``episodes.jsonl`` and ``videos/``. The same command again measures what is missing.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, cast

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import MISSING, DictConfig, ListConfig, OmegaConf

from reflow.config import DataSettings, TeacherSettings, check_own_data, check_schema
from reflow.config_path import CONFIG_DIR
from reflow.data import LeRobotDataModule
from reflow.data.robot import robot_of
from reflow.demo import embedded
from reflow.evaluation.folders import Folders
from reflow.evaluation.offline import OfflineSettings, evaluate_offline
from reflow.evaluation.result_folder import ResultFolder
from reflow.evaluation.simulated import SimulatorSettings, check_environment, evaluate_in_simulator, film
from reflow.evaluation.summary import print_summary
from reflow.flow import Draws
from reflow.policies import FlowPolicy, check_belongs, fingerprint, load_policy, load_processors, share_frozen
from reflow.probes import Figures, Observations
from reflow.quiet import hush
from reflow.reports.folder import CONFIGURATION, Words, content_of_run, save_words, versions_here
from reflow.reports.page import write_report
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.success import Success
from reflow.simulator.workers import WorkerDiedError

USER_ERRORS = (ValueError, OSError, ModuleNotFoundError, WorkerDiedError)
# What changes no figure: how data are read.
_NOT_COMPARED = ("data.num_workers", "data.prefetch_factor", "data.pin_memory", "data.preload")


@dataclass
class StudentPath:
    """Which student."""

    path: str = MISSING
    trained: list[str] = field(default_factory=lambda: ["velocity"])


@dataclass(frozen=True)
class EvaluateSettings(OfflineSettings, SimulatorSettings):
    """The whole of ``conf/evaluate.yaml``."""

    student: StudentPath = field(default_factory=StudentPath)
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    env: dict[str, Any] | None = None
    output: str | None = None
    seed: int = 0
    device: str = "auto"
    offline: bool = True
    lower: list[float] | None = None
    upper: list[float] | None = None
    limit_margin: float = 0.05


def evaluate(config: DictConfig, overrides: Sequence[str] = ()) -> dict[str, float]:
    """Runs, resumes or recognises one evaluation.

    Args:
        config: ``conf/evaluate.yaml``, composed.
        overrides: the command's own, for the page that says how to get there again.

    Returns:
        The flat metrics that ``metrics.json`` holds.

    Raises:
        ValueError, OSError, ModuleNotFoundError: bad input, before anything is measured.
        WorkerDiedError: a simulator process was killed; what was finished is safe.
    """
    _check(config)
    offline, simulator = _settings(OfflineSettings, config), _settings(SimulatorSettings, config)
    env = EnvironmentSettings.from_mapping(_plain(config.env)) if config.get("env") else None
    device = _device(config.device)
    folders = Folders.find(config.student.path, config.teacher.path, config.output)
    results, identity = ResultFolder(folders.output), _identity(config, folders)
    results.check_owner()
    found = results.offline(identity)

    teacher = load_policy(folders.teacher, device)
    teacher.num_steps = config.teacher.num_steps or teacher.num_steps
    check_belongs(folders.student, folders.teacher, loaded=teacher, trained=config.student.trained)
    by, data = _load(config, folders, teacher, device)
    robot = robot_of(data.meta, lower=config.lower, upper=config.upper, limit_margin=config.limit_margin)
    if env is not None:
        check_environment(env, by.policies, folders.policies)
    results.check_writable()

    if found is None and config.offline:
        found = evaluate_offline(by, data, robot, offline)
        results.keep_offline(identity, found)
    found = found or Figures()
    results.finish(found.metrics)
    success = Success()
    if env is not None:
        conditions = Conditions(env, simulator.noise_seed, simulator.n_action_steps, device)
        success = evaluate_in_simulator(conditions, folders.policies, simulator, folders.output)
        film(conditions, folders.policies, simulator, folders.output)
    metrics = {**found.metrics, **success.metrics}
    results.finish(metrics)
    (folders.output / CONFIGURATION).write_text(OmegaConf.to_yaml(config, resolve=True))
    save_words(
        folders.output,
        Words(
            title=f"{folders.name}: student against teacher",
            num_steps=by.policies["student"].num_steps,
            commands=(shlex.join(["python", "-m", "reflow.evaluate", *overrides]),),
            versions=versions_here(),
            joint_names=robot.joints,
            comparisons=success.comparisons,
        ),
    )
    content = content_of_run(folders.output)
    write_report(content, folders.output / "report.html")
    print_summary(metrics, success, content.verdict.sentence, folders.output)
    return metrics


def _check(config: DictConfig) -> None:
    """What can be said of the settings before anything is loaded."""
    check_schema(config, EvaluateSettings)
    check_own_data(config)
    for name, value, least in (
        ("seed", config.seed, 0),
        ("data.batch_size", config.data.batch_size, 1),
        ("data.val_frames", config.data.val_frames, 1),
    ):
        if value < least:
            raise ValueError(f"{name}={value}; allowed: {least} or more")
    if config.teacher.num_steps is not None and config.teacher.num_steps < 1:
        raise ValueError(
            f"teacher.num_steps={config.teacher.num_steps}; allowed: 1 or more, or null for its own"
        )
    if not config.get("env") and not config.offline:
        raise ValueError(
            "offline=false and no environment: nothing is left to measure; add one (+env=pick, +env=aloha, ...)"
        )
    if OmegaConf.is_missing(config.student, "path"):
        raise ValueError(
            "student.path is missing; give a run folder of reflow.train, a pretrained_model folder, or a hub id "
            "(student.path=outputs/demo)"
        )


def _load(
    config: DictConfig, folders: Folders, teacher: FlowPolicy[Any], device: str
) -> tuple[Observations, LeRobotDataModule]:
    """Both policies, and the held-out observations they are shown."""
    student = load_policy(folders.student, device)
    preprocess, postprocess = load_processors(folders.teacher, teacher, rename=dict(config.data.rename or {}))
    _, student_postprocess = load_processors(folders.student, student)
    teacher.requires_grad_(False)
    student.requires_grad_(False)
    share_frozen(teacher, student)
    by = Observations(
        {"teacher": teacher, "student": student},
        Draws(config.seed),
        config.draws,
        postprocess={"teacher": postprocess, "student": student_postprocess},
    )
    arguments = _plain(config.data) | {"preload": False}  # each frame is looked at once or twice
    if arguments["repo_id"] is None:
        arguments |= {"repo_id": embedded.REPO_ID, "root": embedded.DATA}
    return by, LeRobotDataModule(teacher.config, preprocess, seed=config.seed, **arguments)


def _identity(config: DictConfig, folders: Folders) -> dict[str, Any]:
    """What the offline figures are a function of."""
    names = (
        *(entry.name for entry in fields(OfflineSettings)),
        "seed",
        "device",
        "lower",
        "upper",
        "limit_margin",
    )
    whole = _plain(config)
    data = {f"data.{key}": value for key, value in whole["data"].items()}
    return {
        **{name: whole[name] for name in names},
        **{key: value for key, value in data.items() if key not in _NOT_COMPARED},
        "teacher.num_steps": config.teacher.num_steps,
        "teacher": fingerprint(folders.teacher),
        "student": fingerprint(folders.student),
    }


def _settings[SettingsT](kind: type[SettingsT], config: DictConfig) -> SettingsT:
    values = {entry.name: config[entry.name] for entry in fields(kind)}  # type: ignore[arg-type]
    return kind(
        **{key: tuple(value) if isinstance(value, ListConfig) else value for key, value in values.items()}
    )


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={name}; allowed: auto, cpu, cuda")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ValueError("device=cuda, but torch sees no GPU here; use device=auto or device=cpu")
    return "cuda" if there and name != "cpu" else "cpu"


def _plain(section: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(section, resolve=True))


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="evaluate")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    hush()
    try:
        evaluate(config, list(HydraConfig.get().overrides.task))
    except KeyboardInterrupt as error:
        notes = getattr(error, "__notes__", [])
        print("interrupted; the same command goes on. " + "; ".join(notes), file=sys.stderr)
        raise SystemExit(130) from error
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from error


if __name__ == "__main__":
    main()
