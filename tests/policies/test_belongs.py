"""A student of this teacher passes; one of another teacher is refused, and what differs is named."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from reflow.policies import check_belongs, load_policy, save_policy, train_groups
from tests.builders import make_statistics, make_teacher_folder


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")


@pytest.fixture
def distil(teacher: Path, tmp_path: Path) -> Callable[..., Path]:
    """A student's folder: what is trained moved a little."""

    def distil(**prepare: Any) -> Path:
        student = load_policy(teacher)
        train_groups(student, **prepare)
        student.num_steps = 1
        with torch.no_grad():
            for parameter in student.parameters():
                if parameter.requires_grad:
                    parameter.add_(0.01)
        return save_policy(student, teacher, tmp_path / "student" / "pretrained_model")

    return distil


def test_a_student_belongs_to_its_teacher(teacher: Path, distil: Callable[..., Path]) -> None:
    student = distil()
    check_belongs(student, teacher)
    check_belongs(student, teacher, loaded=load_policy(teacher))
    check_belongs(teacher, teacher)


def test_a_trained_state_projection_has_to_be_said(teacher: Path, distil: Callable[..., Path]) -> None:
    student = distil(groups=("velocity", "state_proj"))
    with pytest.raises(ValueError, match=r"frozen state_proj: 2 of 2 tensors differ.*\n.*student\.trained"):
        check_belongs(student, teacher)
    check_belongs(student, teacher, trained=("velocity", "state_proj"))


def test_another_teacher(teacher: Path, tmp_path: Path) -> None:
    other = make_teacher_folder(tmp_path / "other", seed=3)
    with pytest.raises(
        ValueError, match=r"student\.old=.*(?s:.*)\n  frozen vision: \d+ of \d+ tensors differ, e\.g\. model"
    ):
        check_belongs(other, teacher, field="student.old")


def test_other_statistics(teacher: Path, tmp_path: Path) -> None:
    other = make_teacher_folder(tmp_path / "other", statistics=make_statistics(14, 14, seed=9))
    with pytest.raises(ValueError, match=r"statistics action\.mean of policy_preprocessor\.json: up to"):
        check_belongs(other, teacher)


@pytest.mark.parametrize("chunk_size", [5])
def test_other_sizes(teacher: Path, tmp_path: Path, chunk_size: int) -> None:
    other = make_teacher_folder(tmp_path / "other", chunk_size=chunk_size)
    with pytest.raises(ValueError, match="chunk_size: 5 in the student, 8 in the teacher"):
        check_belongs(other, teacher)


def test_another_kind_of_policy(teacher: Path, tmp_path: Path) -> None:
    other = shutil.copytree(teacher, tmp_path / "other")
    config = json.loads((other / "config.json").read_text())
    (other / "config.json").write_text(json.dumps(config | {"type": "pi0"}))
    with pytest.raises(ValueError, match="type: pi0 in the student, smolvla in the teacher"):
        check_belongs(other, teacher)


def test_statistics_that_only_one_of_them_has(teacher: Path, tmp_path: Path) -> None:
    other = shutil.copytree(teacher, tmp_path / "other")
    file = next(other.glob("policy_preprocessor_step_*normalizer*.safetensors"))
    save_file({key: value for key, value in load_file(file).items() if key != "action.std"}, file)
    with pytest.raises(ValueError, match=r"statistics action\.std of .*: not in both"):
        check_belongs(other, teacher)
