"""A policy is found inside the folders that training leaves, and it is said which one was taken."""

import shutil
from pathlib import Path

import pytest

from reflow.policies import find_folder
from reflow.policies.files import CONFIG, WEIGHTS


@pytest.fixture
def run(teacher_folder: Path, tmp_path: Path) -> Path:
    """The folder of a lerobot-train run with two checkpoints, the older one marked as the last."""
    for number in ("005000", "010000"):
        shutil.copytree(teacher_folder, tmp_path / "run" / "checkpoints" / number / "pretrained_model")
        (tmp_path / "run" / "checkpoints" / number / "training_state").mkdir()
    (tmp_path / "run" / "checkpoints" / "last").symlink_to("005000")
    return tmp_path / "run"


@pytest.mark.parametrize(
    ("path", "number"),
    [
        (".", "005000"),
        ("checkpoints", "005000"),
        ("checkpoints/last", "005000"),
        ("checkpoints/010000", "010000"),
        ("checkpoints/last/pretrained_model", "005000"),
    ],
)
def test_the_policy_inside_is_taken(run, path, number):
    assert find_folder(run / path) == run / "checkpoints" / number / "pretrained_model"


@pytest.mark.parametrize("broken", [False, True])
def test_without_a_last_checkpoint_the_newest_counts(run, broken):
    last = run / "checkpoints" / "last"
    last.unlink()
    if broken:
        last.symlink_to("gone")
    (run / "checkpoints" / "notes").mkdir()
    (run / "checkpoints" / "020000").mkdir()  # killed before it was written
    assert find_folder(run) == run / "checkpoints" / "010000" / "pretrained_model"


def test_a_run_of_reflow_has_its_student_inside(teacher_folder, tmp_path):
    shutil.copytree(teacher_folder, tmp_path / "run" / "pretrained_model")
    assert find_folder(tmp_path / "run", "student.path") == tmp_path / "run" / "pretrained_model"


def test_what_was_taken_is_said(run, capsys):
    find_folder(run / "checkpoints" / "last", "policy.path")
    assert capsys.readouterr().err == (
        f"note: policy.path={run}/checkpoints/last is not itself a policy's folder; the policy inside it was taken: "
        f"{run}/checkpoints/last/pretrained_model\n"
    )


def test_a_whole_folder_is_no_matter_for_words(teacher_folder, capsys):
    find_folder(teacher_folder)
    assert capsys.readouterr().err == ""


def test_a_policy_folder_s_own_files_come_before_what_lies_in_it(teacher_folder, tmp_path):
    outer = Path(shutil.copytree(teacher_folder, tmp_path / "outer"))
    shutil.copytree(teacher_folder, outer / "pretrained_model")
    assert find_folder(outer) == outer


def test_what_lacks_in_the_policy_inside_is_named(run):
    (run / "checkpoints" / "005000" / "pretrained_model" / WEIGHTS).unlink()
    with pytest.raises(FileNotFoundError, match=rf"^teacher.path={run} is incomplete: {WEIGHTS} missing"):
        find_folder(run)


def test_checkpoints_without_a_policy_are_incomplete(tmp_path):
    (tmp_path / "checkpoints" / "000100").mkdir(parents=True)
    with pytest.raises(FileNotFoundError, match=rf"is incomplete: {CONFIG}, "):
        find_folder(tmp_path)
