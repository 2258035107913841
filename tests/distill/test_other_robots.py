"""The same command on a robot nobody here has: other widths, two cameras, another chunk length, no padding."""

from collections.abc import Callable
from pathlib import Path

import pytest
from lerobot.policies.smolvla.modeling_smolvla import SmolVLAPolicy

from tests.builders import make_dataset, make_teacher_folder, repo_id

CAMERAS = ("observation.images.front", "observation.images.wrist")


@pytest.mark.parametrize("max_action_dim", [pytest.param(32, marks=pytest.mark.slow), 7])
def test_another_robot(run: Callable[..., dict[str, float]], tmp_path: Path, max_action_dim: int) -> None:
    robot = {"action_dim": 7, "state_dim": 9, "cameras": CAMERAS}
    teacher = make_teacher_folder(
        tmp_path / "teacher", chunk_size=11, max_action_dim=max_action_dim, num_steps=3, **robot
    )
    data = make_dataset(tmp_path / "robot_set", frames=15, **robot)
    metrics = run(
        "+fix=full32", f"teacher.path={teacher}", f"data.root={data}", f"data.repo_id={repo_id(data)}",
        "data.num_workers=1", "data.preload=false",
    )  # fmt: skip
    assert metrics["student/endpoint_error@1"] > 0
    assert ("padding/teacher/endpoint_abs_mean" in metrics) == (max_action_dim > 7)
    student = SmolVLAPolicy.from_pretrained(tmp_path / "run" / "pretrained_model")
    assert (student.config.chunk_size, student.config.num_steps) == (11, 1)


def test_a_student_of_several_steps(run: Callable[..., dict[str, float]], tmp_path: Path) -> None:
    run("+fix=full32", "student.num_steps=3")
    assert SmolVLAPolicy.from_pretrained(tmp_path / "run" / "pretrained_model").config.num_steps == 3


def test_renamed_cameras(run: Callable[..., dict[str, float]], tmp_path: Path) -> None:
    data = make_dataset(tmp_path / "renamed", cameras=("observation.images.overhead",))
    run(
        "+fix=full32", f"data.root={data}", f"data.repo_id={repo_id(data)}",
        "data.rename={observation.images.overhead:observation.images.top}",
    )  # fmt: skip
