"""All checks in order, on built objects. Left out: loading them, and refusing bad input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lerobot.utils.constants import ACTION
from torch import Tensor

from reflow.data import OpenSource
from reflow.data.robot import dimension_names
from reflow.doctor.cost import Plan
from reflow.doctor.cost_report import cost_check
from reflow.doctor.exactness import exactness_check
from reflow.doctor.finding import Check, Diagnosis
from reflow.doctor.normalisation import normalisation_check
from reflow.doctor.padding import padding_check
from reflow.doctor.runtimes import runtimes_check
from reflow.doctor.several import of_each
from reflow.doctor.solver import solver_check
from reflow.doctor.student import compare_students
from reflow.doctor.student_report import student_check
from reflow.flow import PaddingRule
from reflow.policies import FlowPolicy, saved_statistics
from reflow.probes import (
    EndpointErrors,
    Figures,
    Observed,
    PaddingAsDeployed,
    PaddingSupervision,
    Probe,
    StraightnessOfFlows,
    VelocityErrors,
    measure,
)
from reflow.probes.observations import STUDENT, TEACHER


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Attributes:
        folder: the teacher was loaded from.
        data: the data sets, opened.
        observed: held-out observations, of the teacher and of the students that there are; what they share with the
            teacher is shared.
    """

    folder: Path
    data: Sequence[OpenSource]
    observed: tuple[Observed, ...]


@dataclass(frozen=True)
class Question:
    """The distillation asked about, and how closely to look.

    Attributes:
        plan: the training run.
        student_steps: of the student that is planned; one that is there knows its own.
        rule: its padding rule, or None where none was asked about.
        reference_steps: velocity calls of the solvers' references.
        nfe: step counts at which a student's endpoints are compared.
        time_bins: of a student's velocity error.
    """

    plan: Plan
    student_steps: int = 1
    rule: PaddingRule | None = None
    reference_steps: int = 100
    nfe: Sequence[int] = (1, 2, 4, 10)
    time_bins: int = 10


def measure_all(observed: Sequence[Observed], question: Question) -> Figures:
    """What the checks are made from, with the probes of a training run and an evaluation.

    Args:
        observed: held-out observations.
        question: step counts and bins.
    """
    by = observed[0].by
    student, who = by.policies.get(STUDENT), tuple(by.policies)
    nfe = sorted({*question.nfe, *([student.num_steps] if student else [])})
    probes: list[Probe] = [
        EndpointErrors(nfe, question.reference_steps),
        PaddingAsDeployed(),
        PaddingSupervision(),
    ]
    if student:
        probes += [VelocityErrors(question.time_bins, who), StraightnessOfFlows(who=who)]
    return measure(by, observed, probes)


def examine(patient: Patient, question: Question, fit: Check) -> Diagnosis:
    """Runs every check.

    Args:
        patient: teacher, data, students. What the teacher shares with a student is frozen afterwards.
        question: the distillation asked about.
        fit: data and policy side by side; it comes first, since bad input ends there.
    """
    observed = patient.observed
    policies = observed[0].by.policies
    teacher, student = policies[TEACHER], policies.get(STUDENT)
    steps = student.num_steps if student else question.student_steps
    saved = saved_statistics(patient.folder)
    found = measure_all(observed, question)
    solver_error = found.metrics["teacher/solver_error"]
    checks = [
        fit,
        of_each(
            patient.data,
            lambda source: normalisation_check(
                saved,
                source.meta.stats,
                dimension_names(source.meta, teacher.config),
                _endpoints(teacher, observed, source.frames),
            ),
        ),
        exactness_check(teacher, observed[0]),
        padding_check(found.metrics, teacher.space, num_steps=steps, rule=question.rule),
    ]
    if teacher.integrates:
        checks.append(
            solver_check(
                observed,
                solver_error=solver_error,
                num_steps=question.plan.num_steps,
                solver=question.plan.solver,
                reference_steps=question.reference_steps,
            )
        )
    if student:
        compared = compare_students(observed, found, question.time_bins)
        names = dimension_names(patient.data[0].meta, teacher.config)
        checks.append(student_check(compared, names[ACTION], num_steps=steps, solver_error=solver_error))
        checks.append(runtimes_check(student))
    checks.append(cost_check(teacher, patient.folder, observed[0], question.plan))
    return Diagnosis(tuple(checks), found.metrics)


def _endpoints(
    teacher: FlowPolicy[Any], observed: Sequence[Observed], frames: range
) -> Float[Tensor, "n a"] | None:
    """What the teacher gives the robot at the observations of one data set, every chunk step a row."""
    ends = [
        teacher.actions(one.endpoint)[[sample in frames for sample in one.sample.tolist()]]
        for one in observed
    ]
    steps = torch.cat([end.flatten(0, -2).cpu() for end in ends])
    return steps if len(steps) else None
