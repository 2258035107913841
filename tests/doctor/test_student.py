"""Students of a field whose every figure is known."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from reflow.doctor import Plan, Question
from reflow.doctor.examine import measure_all
from reflow.doctor.student import Comparison, compare_students
from reflow.doctor.student_report import student_check
from reflow.flow import EULER
from tests.doctor.conftest import FieldPolicy, looks

JOINTS = ("a", "b", "c")
PLAN = Plan(max_steps=1, batch_size=1, draws=1, times=1, num_steps=4, solver=EULER)


def teacher() -> FieldPolicy:
    return FieldPolicy(lambda x_t, t: x_t, num_steps=4)


SHRINK = 0.75**4
"""By what the teacher's four steps carry noise: its endpoint is this times the noise, and u is the rest of it."""


def student(off: float = 0.0) -> FieldPolicy:
    """One step, right at t=1 (and there alone) but for ``off`` of the noise."""
    return FieldPolicy(lambda x_t, t: (1 - SHRINK + off) * x_t, num_steps=1)


def comparison(own: FieldPolicy, draws: int = 4, **students: FieldPolicy) -> Comparison:
    seen = looks(own, draws=draws, **students)
    question = Question(PLAN, nfe=(1, 2, 4), time_bins=5)
    return compare_students(seen, measure_all(seen, question), 5)


def compared(**students: FieldPolicy) -> Any:
    found = comparison(teacher(), **students)
    check = student_check(found, JOINTS, num_steps=1, solver_error=0.0)
    figures = {**found.figures.metrics, **check.figures}
    return replace(check, figures=figures), {finding.name: finding for finding in check.findings}


def test_a_perfect_student_at_its_own_time() -> None:
    check, findings = compared(student=student())
    assert check.figures["student/endpoint_error@1"] == pytest.approx(0, abs=1e-6)
    assert check.figures["velocity/relative_error"] == pytest.approx(0, abs=1e-6)
    assert check.figures["student/velocity_error/joint/b"] == pytest.approx(0, abs=1e-9)
    assert check.figures["student/velocity_error@t=0.1"] > 0.1  # where it was never taught
    assert check.figures["teacher/endpoint_error@4"] == 0.0
    assert check.figures["teacher/endpoint_error@1"] == pytest.approx(1)  # in one step it ends at zero
    assert check.figures["velocity/teacher/relative_error"] == pytest.approx(SHRINK / (1 - SHRINK), rel=1e-5)
    assert findings["student_error"].severity == "ok"


def test_a_student_s_errors_are_those_put_in() -> None:
    check, findings = compared(student=student(0.1))
    assert check.figures["velocity/relative_error"] == pytest.approx(0.1 / (1 - SHRINK), rel=1e-4)
    assert check.figures["student/endpoint_error@1"] == pytest.approx(0.1 / SHRINK, rel=1e-4)
    steps = [check.figures[f"student/velocity_error/step/{i}"] for i in range(4)]
    joints = [check.figures[f"student/velocity_error/joint/{name}"] for name in JOINTS]
    assert sum(steps) / 4 == pytest.approx(sum(joints) / 3)
    assert findings["student_error"].severity == "warning"


def test_a_student_worse_than_its_teacher_in_one_step() -> None:
    _, findings = compared(student=student(-0.5))
    assert findings["student_worse"].severity == "error"
    assert findings["student_worse"].what_to_do == "+fix=full32"


def test_the_teacher_s_solver_error_is_the_limit_where_it_is_larger() -> None:
    found = comparison(teacher(), student=student(0.03))
    for error, severity in ((0.0, "warning"), (0.2, "ok")):
        check = student_check(found, JOINTS, num_steps=1, solver_error=error)
        assert check.findings[0].severity == severity


def test_old_against_new() -> None:
    check, findings = compared(student=student(0.05), old=student(0.1))
    assert findings["old_against_new"].severity == "ok"
    endpoints = check.tables[0]
    assert endpoints.columns == ("steps", "student", "old", "teacher", "student - old")
    errors = [check.figures[f"{who}/endpoint_error@1"] for who in ("student", "old")]
    assert endpoints.rows[0][1:3] == tuple(f"{error:.2%}" for error in errors)
    assert endpoints.rows[0][4] == f"{errors[0] - errors[1]:.2%}"
    _, findings = compared(student=student(0.1), old=student(0.05))
    assert findings["old_against_new"].severity == "warning"


def test_the_floor_is_said_and_where_it_is_known() -> None:
    check, findings = compared(student=student())
    assert check.figures["velocity_floor@t=1"] == 0.0
    assert check.figures["path_cosine_min"] == pytest.approx(1)  # a field that only shrinks: no paths cross
    assert findings["velocity_floor"].severity == "ok"
    variance = check.figures["guess_alone_at_own_times"]
    assert variance == pytest.approx(SHRINK**2, rel=0.5)  # of 24 noises
    alone = comparison(teacher(), draws=1, student=student())
    assert student_check(alone, JOINTS, num_steps=1, solver_error=0.0).findings[1].severity == "note"


def test_crossing_paths_are_remarked_upon() -> None:
    own = FieldPolicy(lambda x_t, t: 1.5 * x_t, num_steps=1)  # endpoint -0.5 * noise
    found = comparison(own, student=student())
    assert found.cosines.max().item() == pytest.approx(-1)
    check = student_check(found, JOINTS, num_steps=1, solver_error=0.0)
    assert {finding.name: finding.severity for finding in check.findings}["velocity_floor"] == "note"


def test_a_student_of_several_steps_is_asked_at_each_of_them() -> None:
    two = student()
    two.num_steps = 2
    found = comparison(teacher(), student=two)
    assert found.own_times == (1.0, 0.5)
    assert found.nfe == [1, 2, 4]
    # Right at 1 (where the one-step student is right), wrong at 0.5: its error is the mean of the two.
    wrong = ((1 - SHRINK) * (0.5 + 0.5 * SHRINK) - (1 - SHRINK)) / (1 - SHRINK)
    assert found.relative("student") == pytest.approx(abs(wrong) / 2, rel=1e-4)
    assert torch.isfinite(found.by_step("student")).all()
