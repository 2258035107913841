"""The doctor: ``python -m reflow.diagnose teacher.path=... data.root=...``, before any training time is spent.

Hydra ends here. Exit code 0: healthy; 1: findings, each with what to do; 2: cannot run. ``--json`` prints one JSON
document and nothing else on the standard output.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import hydra
import torch
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from reflow.config import (
    AUTO,
    EXTENTS,
    DataSettings,
    SolverSettings,
    TeacherSettings,
    check_own_data,
    check_schema,
)
from reflow.config.run_folder import write_json
from reflow.config_path import CONFIG_DIR
from reflow.data import SAMPLE, LeRobotDataModule, load_metadata
from reflow.demo import embedded
from reflow.doctor import (
    CANNOT_RUN,
    Check,
    Diagnosis,
    Patient,
    Plan,
    Question,
    examine,
    fit_check,
    print_check,
    print_diagnosis,
)
from reflow.flow import Draws, PaddingRule, get_solver
from reflow.policies import (
    FlowPolicy,
    check_belongs,
    find_folder,
    load_policy,
    load_processors,
    share_frozen,
)
from reflow.probes import Observations
from reflow.quiet import hush

USER_ERRORS = (ValueError, OSError)


@dataclass
class AskedPadding:
    """The padding rule asked about; all None where none was."""

    noise: str | None = None
    target: str | None = None
    loss: str | None = None
    inert: bool = False


@dataclass
class StudentToLookAt:
    """A student that is there, and one that is planned."""

    path: Any = None
    old: str | None = None
    num_steps: int = 1
    trained: list[str] = field(default_factory=lambda: ["velocity"])


@dataclass
class DiagnoseSettings:
    """The whole of ``conf/diagnose.yaml``."""

    seed: int = 0
    teacher: TeacherSettings = field(default_factory=TeacherSettings)
    data: DataSettings = field(default_factory=DataSettings)
    objective: dict[str, Any] = field(default_factory=dict)
    solver: SolverSettings = field(default_factory=SolverSettings)
    time: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    student: StudentToLookAt = field(default_factory=StudentToLookAt)
    padding: AskedPadding = field(default_factory=AskedPadding)
    draws: int = 4
    reference_steps: int = 100
    nfe: list[int] = field(default_factory=lambda: [1, 2, 4, 10])
    time_bins: int = 10
    device: str = "auto"
    json: bool = False
    output: str | None = None


class DoesNotFitError(ValueError):
    """Data and policy do not belong together; the comparison of the two is the answer."""

    def __init__(self, message: str, fit: Check) -> None:
        super().__init__(message)
        self.fit = fit


def diagnose(config: DictConfig) -> Diagnosis:
    """Runs every check.

    Args:
        config: ``conf/diagnose.yaml``, composed.

    Raises:
        DoesNotFitError: data and policy do not fit; it carries the two side by side.
        ValueError, OSError: other bad input.
    """
    _check(config)
    folder = find_folder(embedded.policy_path(config.teacher.path))
    students = dict(_students(config))
    device = _device(config.device)
    teacher = load_policy(folder, device)
    for student in students.values():
        check_belongs(student, folder, loaded=teacher, trained=tuple(config.student.trained))
    rename = dict(config.data.rename or {})
    preprocess, _ = load_processors(folder, teacher, device, rename)

    arguments = _plain(config.data) | {"preload": False, "num_workers": 0}  # each frame is looked at once
    if arguments["repo_id"] is None:
        arguments |= {"repo_id": embedded.REPO_ID, "root": embedded.DATA}
    meta = load_metadata(arguments["repo_id"], arguments["root"])
    fit = fit_check(meta, teacher.config, teacher.space, rename, folder)
    try:
        data = LeRobotDataModule(teacher.config, preprocess, seed=config.seed, **arguments)
    except ValueError as error:
        raise DoesNotFitError(str(error), fit) from error
    start = time.perf_counter()
    batches = list(data.val_dataloader())
    frame_seconds = (time.perf_counter() - start) / sum(len(batch[SAMPLE]) for batch in batches)
    loaded = {name: _load_student(path, teacher, device) for name, path in students.items()}
    held_out = Observations({"teacher": teacher, **loaded}, Draws(config.seed), config.draws)
    patient = Patient(folder, meta, held_out.see_all(batches))
    plan = Plan(
        max_steps=config.trainer.max_steps,
        batch_size=config.data.batch_size,
        draws=config.objective.draws,
        times=config.objective.get("times", 1),
        num_steps=config.teacher.num_steps or teacher.num_steps,
        solver=get_solver(config.solver.name),
        trained=tuple(config.student.trained),
        num_workers=config.data.num_workers,
        preload=config.data.preload,
        frame_seconds=frame_seconds,
        frames=len(data.train_frames),
    )
    question = Question(
        plan,
        config.student.num_steps,
        _rule(config, teacher),
        config.reference_steps,
        tuple(config.nfe),
        config.time_bins,
    )
    return examine(patient, question, fit)


def _check(config: DictConfig) -> None:
    check_schema(config, DiagnoseSettings)
    check_own_data(config)
    least_one = {name: config[name] for name in ("draws", "reference_steps", "time_bins")}
    least_one |= {
        "student.num_steps": config.student.num_steps,
        "data.batch_size": config.data.batch_size,
        "data.val_frames": config.data.val_frames,
        "nfe": min(config.nfe, default=0),
    }
    if config.teacher.num_steps is not None:
        least_one["teacher.num_steps"] = config.teacher.num_steps
    for name, value in least_one.items():
        if value < 1:
            raise ValueError(f"{name}={value}; allowed: 1 or more")
    if not isinstance(config.trainer.get("max_steps"), int) or config.trainer.max_steps < 1:
        raise ValueError(
            f"trainer.max_steps={config.trainer.get('max_steps')}; allowed: 1 or more, or the distillation's time "
            "cannot be told"
        )
    for name in ("noise", "target", "loss"):
        if config.padding[name] not in (None, AUTO, *EXTENTS):
            raise ValueError(
                f"padding.{name}={config.padding[name]}; allowed: {' or '.join(EXTENTS)}, or null to ask about none"
            )
    get_solver(config.solver.name)
    if config.student.old is not None and config.student.path is None:
        raise ValueError(
            "student.old is given without student.path; name the new student too (student.path=...)"
        )


def _students(config: DictConfig) -> Iterator[tuple[str, Path]]:
    """The judged student first, then older ones."""
    paths = OmegaConf.to_container(config.student, resolve=True)["path"]  # type: ignore[call-overload,index]
    if paths is None:
        return
    several = [paths] if isinstance(paths, str) else list(paths)
    if not several or not all(isinstance(path, str) for path in several):
        raise ValueError(f"student.path={paths}; allowed: a path, or a list of paths, the newest last")
    olds = [*several[:-1], *([config.student.old] if config.student.old is not None else [])]
    names = ["student", *("old" if i == 0 else f"old_{i + 1}" for i in range(len(olds)))]
    for name, path in zip(names, [several[-1], *olds], strict=True):
        inside = Path(path).expanduser() / "pretrained_model"
        field_name = "student.old" if path == config.student.old else "student.path"
        yield name, find_folder(inside if inside.is_dir() else embedded.policy_path(path), field_name)


def _load_student(folder: Path, teacher: FlowPolicy, device: str) -> FlowPolicy:
    student = load_policy(folder, device).requires_grad_(False)
    share_frozen(teacher, student)
    return student


def _rule(config: DictConfig, teacher: FlowPolicy) -> PaddingRule | None:
    asked = config.padding
    answers = [asked.noise, asked.target, asked.loss]
    if AUTO in answers:  # training will ask this very diagnosis
        return None
    if asked.inert or any(answer is not None for answer in answers):
        noise, target, loss = (cast(Any, answer or "real") for answer in answers)
        return PaddingRule(teacher.space, noise, target, loss, asked.inert)
    return None


def _device(name: str) -> str:
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device={name}; allowed: auto, cpu, cuda")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("device=cuda, but torch sees no GPU here; use device=auto or device=cpu")
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"


def _plain(section: DictConfig) -> dict[str, Any]:
    return cast(dict[str, Any], OmegaConf.to_container(section, resolve=True))


def run(config: DictConfig) -> int:
    """Diagnoses, prints, writes.

    Returns:
        The exit code.
    """
    hush()
    document: dict[str, Any]
    try:
        # LeRobot prints while it loads; the standard output is for the diagnosis.
        with contextlib.redirect_stdout(sys.stderr), Console(stderr=True).status("looking"):
            diagnosis = diagnose(config)
        document, code = diagnosis.as_json(), diagnosis.exit_code
        if not config.json:
            print_diagnosis(diagnosis)
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        document, code = {"exit_code": CANNOT_RUN, "error": str(error)}, CANNOT_RUN
        if isinstance(error, DoesNotFitError):
            document |= Diagnosis((error.fit,)).as_json() | {"exit_code": CANNOT_RUN, "verdict": str(error)}
            if not config.json:
                print_check(error.fit)
        print(f"error: {error}", file=sys.stderr)
    if config.json:
        print(json.dumps(document, indent=2, allow_nan=False))
    if config.output is not None:
        try:
            Path(config.output).expanduser().parent.mkdir(parents=True, exist_ok=True)
            write_json(Path(config.output).expanduser(), document)
        except OSError as error:
            print(f"error: output={config.output} cannot be written: {error.strerror}", file=sys.stderr)
            return CANNOT_RUN
    return code


def main() -> None:
    """Command-line entry: Hydra composes, and has no say in the exit code."""
    sys.argv = ["json=true" if argument == "--json" else argument for argument in sys.argv]
    configs: list[DictConfig] = []

    @hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="diagnose")
    def compose(config: DictConfig) -> None:
        configs.append(config)

    try:
        compose()
    except SystemExit as error:  # Hydra's own errors end with 1, which here means findings
        if error.code and "json=true" in sys.argv:
            print(json.dumps({"exit_code": CANNOT_RUN, "error": "configuration: see the standard error"}))
        raise SystemExit(CANNOT_RUN if error.code else 0) from error
    raise SystemExit(max((run(config) for config in configs), default=0))


if __name__ == "__main__":
    main()
