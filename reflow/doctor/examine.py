"""All checks in order, on built objects. Left out: loading them, and refusing bad input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from reflow.data.robot import joint_names
from reflow.doctor.cost import Plan
from reflow.doctor.cost_report import cost_check
from reflow.doctor.exactness import exactness_check
from reflow.doctor.finding import Check, Diagnosis
from reflow.doctor.normalisation import normalisation_check
from reflow.doctor.observe import Observed
from reflow.doctor.padding import padding_check
from reflow.doctor.solver import solver_check
from reflow.doctor.student import compare_students
from reflow.doctor.student_report import student_check
from reflow.flow import PaddingRule
from reflow.policies import FlowPolicy, saved_statistics
from reflow.policies.folder import POSTPROCESSOR


@dataclass(frozen=True)
class Patient:
    """What is looked at.

    Attributes:
        teacher: loaded, in eval mode.
        folder: it was loaded from.
        meta: of the data set.
        observed: held-out observations, with the teacher's endpoints.
        students: by name, the one to judge first; what they share with the teacher is shared.
    """

    teacher: FlowPolicy[Any]
    folder: Path
    meta: LeRobotDatasetMetadata
    observed: tuple[Observed, ...]
    students: Mapping[str, FlowPolicy[Any]] = field(default_factory=dict)


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


def examine(patient: Patient, question: Question, fit: Check) -> Diagnosis:
    """Runs every check.

    Args:
        patient: teacher, data, students. What the teacher shares with a student is frozen afterwards.
        question: the distillation asked about.
        fit: data and policy side by side; it comes first, since bad input ends there.
    """
    teacher, observed = patient.teacher, patient.observed
    steps = next((student.num_steps for student in patient.students.values()), question.student_steps)
    names = _names(patient)
    normalisation = normalisation_check(
        saved_statistics(patient.folder),
        saved_statistics(patient.folder, POSTPROCESSOR),
        patient.meta.stats,
        names,
        _endpoints(teacher, observed),
    )
    solver = solver_check(
        teacher,
        observed,
        num_steps=question.plan.num_steps,
        solver=question.plan.solver,
        reference_steps=question.reference_steps,
    )
    checks = [
        fit,
        normalisation,
        exactness_check(teacher, observed[0]),
        padding_check(teacher, observed, num_steps=steps, rule=question.rule),
        solver,
    ]
    if patient.students:
        found = compare_students(
            teacher, patient.students, observed, nfe=question.nfe, time_bins=question.time_bins
        )
        error = solver.figures["error"]
        checks.append(student_check(found, teacher.space, names[ACTION], num_steps=steps, solver_error=error))
    checks.append(cost_check(teacher, patient.folder, observed[0], question.plan))
    return Diagnosis(tuple(checks))


def _names(patient: Patient) -> dict[str, tuple[str, ...]]:
    state = patient.teacher.config.robot_state_feature
    widths = {
        OBS_STATE: 0 if state is None else state.shape[0],
        ACTION: patient.teacher.space.action_dim,
    }
    return {feature: joint_names(patient.meta, feature, width) for feature, width in widths.items()}


def _endpoints(teacher: FlowPolicy[Any], observed: Sequence[Observed]) -> Float[Tensor, "n a"] | None:
    if getattr(teacher.config, "adapt_to_pi_aloha", False):
        return None  # the policy converts actions after this point
    return torch.cat([teacher.space.real(one.endpoint).flatten(0, -2).cpu() for one in observed])
