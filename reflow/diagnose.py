"""The doctor: ``python -m reflow.diagnose teacher.path=... data.root=...``, before any training time is spent.

Exit code 0: healthy; 1: findings, each with what to do; 2: cannot run. ``--json`` prints one JSON document and
nothing else on the standard output.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console

from reflow.cli import build, command
from reflow.config.diagnose import ALIASES, DIAGNOSE, RENAMED, asked_rule, check_diagnosis, students_of
from reflow.config.inputs import open_inputs
from reflow.config.parts import device_of
from reflow.data import SAMPLE
from reflow.doctor import (
    CANNOT_RUN,
    Check,
    Diagnosis,
    Patient,
    Plan,
    Question,
    examine,
    fit_check,
    of_each,
    print_check,
    print_diagnosis,
)
from reflow.ending import document_of
from reflow.errors import UserError
from reflow.files import UnwritableError, write_json
from reflow.flow import Draws
from reflow.policies import FlowPolicy, check_belongs, load_policy, share_frozen
from reflow.probes import Observations


class DoesNotFitError(UserError):
    """Data and policy do not belong together; the comparison of the two is the answer."""

    def __init__(self, message: str, fit: Check) -> None:
        super().__init__(message)
        self.fit = fit
        self.document = Diagnosis((fit,)).as_json() | {"exit_code": CANNOT_RUN, "verdict": message}


def diagnose(config: DictConfig) -> Diagnosis:
    """Runs every check.

    Args:
        config: ``conf/diagnose.yaml``, composed.

    Raises:
        DoesNotFitError: data and policy do not fit; it carries the two side by side.
        UserError: other bad input.
    """
    check_diagnosis(config)
    solver, trained = build(config.solver), tuple(config.student.trained)
    students = dict(students_of(config))
    device = device_of(config.device)
    inputs = open_inputs(config, device=device, preload=False, num_workers=0)  # each frame is looked at once
    source, teacher = inputs.source, inputs.teacher
    for student in students.values():
        check_belongs(student, source.folder, loaded=teacher, trained=trained)
    fit = of_each(
        inputs.data,
        lambda data: fit_check(data.meta, teacher.config, teacher.space, data.rename, source.folder),
    )
    try:
        data = inputs.open_data(seed=config.seed)
    except UserError as error:
        raise DoesNotFitError(str(error), fit) from error
    start = time.perf_counter()
    batches = list(data.val_dataloader())
    frame_seconds = (time.perf_counter() - start) / sum(len(batch[SAMPLE]) for batch in batches)
    loaded = {name: _load_student(path, teacher, device) for name, path in students.items()}
    held_out = Observations({"teacher": teacher, **loaded}, Draws(config.seed), config.val_draws)
    patient = Patient(source.folder, inputs.data, held_out.see_all(batches))
    plan = Plan(
        max_steps=config.trainer.max_steps,
        batch_size=config.data.batch_size,
        draws=config.objective.draws,
        times=config.objective.get("times", 1),
        num_steps=source.steps(teacher),
        solver=solver,
        trained=trained,
        lora=config.student.lora,
        num_workers=config.data.num_workers,
        preload=config.data.preload,
        frame_seconds=frame_seconds,
        frames=len(data.train_frames),
    )
    question = Question(
        plan,
        config.student.num_steps,
        asked_rule(config, teacher.space),
        config.reference_steps,
        tuple(config.nfe),
        config.time_bins,
    )
    return examine(patient, question, fit)


def _load_student(folder: Path, teacher: FlowPolicy, device: str) -> FlowPolicy:
    student = load_policy(folder, device).requires_grad_(False)
    share_frozen(teacher, student)
    return student


def _keep(config: DictConfig, document: dict) -> None:
    if config.run_dir is not None:
        try:
            write_json(Path(config.run_dir).expanduser() / "diagnosis.json", document)
        except UnwritableError as error:
            raise UserError(f"run_dir={config.run_dir}: {error}") from error


@command("diagnose", DIAGNOSE, renamed=RENAMED, aliases=ALIASES)
def main(config: DictConfig) -> int:
    """Command-line entry: diagnoses, prints, writes; returns the exit code."""
    try:
        # LeRobot prints while it loads; the standard output is for the diagnosis.
        with contextlib.redirect_stdout(sys.stderr), Console(stderr=True).status("looking"):
            diagnosis = diagnose(config)
    except UserError as error:
        if isinstance(error, DoesNotFitError) and not config.json:
            print_check(error.fit)
        _keep(config, document_of(error))
        raise
    if not config.json:
        print_diagnosis(diagnosis)
    _keep(config, diagnosis.as_json())
    if config.json:
        print(json.dumps(diagnosis.as_json(), indent=2, allow_nan=False))
    return diagnosis.exit_code


if __name__ == "__main__":
    main()
