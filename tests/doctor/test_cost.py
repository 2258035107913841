"""Estimates from a step that is known, and a real step of a small teacher."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reflow.distill.student import make_student
from reflow.doctor import Plan
from reflow.doctor.cost import Step, estimate, measure_step
from reflow.doctor.cost_report import cost_check, cost_findings
from reflow.flow import EULER, PaddingRule
from reflow.policies import load_policy
from tests.builders import make_batch
from tests.doctor.conftest import seen_by

PLAN = Plan(max_steps=100, batch_size=16, draws=2, times=1, num_steps=10, solver=EULER)
STEP = Step(8, encode=1.0, walk=2.0, learn=3.0, activation_bytes=1000, trainable_bytes=400, weight_bytes=2000)


def test_time_grows_with_the_batch_and_waits_for_the_slower(tmp_path: Path) -> None:
    def seconds(**changes: object) -> float:
        return estimate(STEP, replace(PLAN, **changes), tmp_path)["seconds"]

    assert seconds() == pytest.approx(100 * 2 * 6)
    assert seconds(frame_seconds=0.1) == pytest.approx(100 * (12 + 1.6))
    assert seconds(frame_seconds=0.1, num_workers=2) == pytest.approx(100 * 12)
    assert seconds(frame_seconds=10.0, num_workers=2) == pytest.approx(100 * 80)
    assert seconds(frame_seconds=0.1, preload=True, frames=50) == pytest.approx(1200 + 5)


def test_memory_and_disk(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"0" * 3000)
    found = estimate(STEP, PLAN, tmp_path)
    # All of the teacher; the student's trained part, its gradients, two moments and average; activations of 16.
    assert found["memory_bytes"] == 2000 + 5 * 400 + 2000
    assert found["checkpoint_bytes"] == 4 * 400
    assert found["disk_bytes"] == 3000 + 2 * 1600
    assert found["pairs_per_second"] == pytest.approx(32 / 12)


def test_a_real_step(teacher_folder: Path) -> None:
    teacher = load_policy(teacher_folder)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    one = seen_by(teacher, make_batch(teacher, 3))
    step = measure_step(teacher, teacher_folder, one, replace(PLAN, batch_size=2))
    student = make_student(load_policy(teacher_folder), teacher_folder, PaddingRule(teacher.space))
    trained = sum(p.numel() * p.element_size() for p in student.parameters() if p.requires_grad)
    assert step.trainable_bytes == trained
    assert step.observations == 2
    assert min(step.encode, step.walk, step.learn) > 0
    more = measure_step(teacher, teacher_folder, one, replace(PLAN, batch_size=2, draws=8))
    assert more.activation_bytes > 2 * step.activation_bytes > 0
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_the_check_is_healthy_on_a_small_teacher(teacher_folder: Path) -> None:
    teacher = load_policy(teacher_folder)
    one = seen_by(teacher, make_batch(teacher, 2))
    check = cost_check(teacher, teacher_folder, one, PLAN)
    assert [finding.severity for finding in check.findings] == ["ok"]
    assert check.figures["memory_available_bytes"] > check.figures["memory_bytes"]


def test_what_does_not_fit(tmp_path: Path) -> None:
    figures = estimate(STEP, PLAN, tmp_path) | {"memory_available_bytes": 1e12, "disk_free_bytes": 1e12}
    assert [finding.name for finding in cost_findings(figures, PLAN)] == ["cost"]
    memory = next(cost_findings({**figures, "memory_available_bytes": 10.0}, PLAN))
    assert (memory.name, memory.severity, memory.what_to_do) == ("memory", "warning", "data.batch_size=8")
    disk = next(cost_findings({**figures, "disk_free_bytes": 10.0}, PLAN))
    assert (disk.name, disk.severity) == ("disk", "warning")
    (slow,) = cost_findings({**figures, "seconds": 1e6}, PLAN)
    assert slow.severity == "note"
