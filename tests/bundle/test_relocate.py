"""A folder that was moved is told where it is: paths, checksums, refusals."""

import json
import shutil
from pathlib import Path

import pytest

from reflow.bundle.relocate import relocate, relocate_command
from reflow.errors import MissingFileError, UserError
from reflow.files import sha256
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from reflow.policies.sums import SUMS, check_sums, write_sums


@pytest.fixture
def moved(student_folder: Path, tmp_path: Path) -> Path:
    """A delivered folder, copied to another place: it names the old one."""
    folder = Path(shutil.copytree(student_folder, tmp_path / "there"))
    write_sums(folder)
    return folder


def named(folder: Path) -> list[str]:
    """What its files name: the VLM's folder, and the tokenizer's."""
    steps = json.loads((folder / PREPROCESSOR).read_text())["steps"]
    found = [step["config"]["tokenizer_name"] for step in steps if "tokenizer_name" in step["config"]]
    return [json.loads((folder / CONFIG).read_text())["vlm_model_name"], *found]


def test_it_names_its_own_place(moved: Path, student_folder: Path) -> None:
    assert named(moved) == [str(student_folder / "vlm")] * 2
    assert relocate(moved) == [
        f"{CONFIG}: vlm_model_name={moved}/vlm",
        f"{PREPROCESSOR}: tokenizer_name={moved}/vlm",
    ]
    assert named(moved) == [str(moved / "vlm")] * 2


def test_again_there_is_nothing_to_change(moved: Path) -> None:
    relocate(moved)
    before = {file: file.stat().st_mtime_ns for file in moved.rglob("*")}
    assert relocate(moved) == []
    assert {file: file.stat().st_mtime_ns for file in moved.rglob("*")} == before


def test_for_a_place_that_is_not_here(moved: Path) -> None:
    relocate(moved, Path("/robot/policies/mine"))
    assert named(moved) == ["/robot/policies/mine/vlm"] * 2


def test_from_the_folder_itself(moved: Path) -> None:
    relocate(moved, relative=True)
    assert named(moved) == ["./vlm"] * 2
    relocate(moved)
    assert named(moved) == [str(moved / "vlm")] * 2


def test_checksums_are_of_what_is_there(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = dict(reversed(line.split("  ")) for line in (moved / SUMS).read_text().splitlines())
    relocate(moved)
    check_sums(moved, "student.path")
    assert capsys.readouterr().err == ""
    after = dict(reversed(line.split("  ")) for line in (moved / SUMS).read_text().splitlines())
    assert {name for name in before if before[name] != after[name]} == {CONFIG, PREPROCESSOR}
    assert after[CONFIG] == sha256(moved / CONFIG)


def test_without_checksums_there_are_none_afterwards(moved: Path) -> None:
    (moved / SUMS).unlink()
    relocate(moved)
    assert not (moved / SUMS).exists()


@pytest.mark.parametrize("name", [CONFIG, PREPROCESSOR, POSTPROCESSOR])
def test_a_file_that_has_changed_on_its_way_is_not_made_true(moved: Path, name: str) -> None:
    (moved / name).write_text((moved / name).read_text() + " ")
    with pytest.raises(UserError, match=rf"{name} is not what was written, by its checksum in {SUMS}"):
        relocate(moved)
    assert str(moved) not in (moved / CONFIG).read_text()


def test_a_folder_that_is_not_inside_is_named(moved: Path) -> None:
    (moved / "vlm").rename(moved / "elsewhere")
    (moved / SUMS).unlink()
    config = json.loads((moved / CONFIG).read_text())
    (moved / CONFIG).write_text(json.dumps(config | {"vlm_model_name": "/gone/vlm"}))
    with pytest.raises(
        MissingFileError, match="says vlm_model_name=/gone/vlm, and there is no folder vlm in it"
    ):
        relocate(moved)


def test_what_is_named_outside_and_what_is_of_the_hub_stay(
    moved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (moved / SUMS).unlink()
    (moved / "vlm").rename(tmp_path / "shared")
    for name, field in ((CONFIG, "vlm_model_name"), (PREPROCESSOR, "tokenizer_name")):
        value = str(tmp_path / "shared") if name == CONFIG else "somebody/tokenizer"
        text = (moved / name).read_text()
        (moved / name).write_text(text.replace(named(moved)[name != CONFIG], value))
        assert value in (moved / name).read_text(), field
    assert relocate(moved) == []
    said = capsys.readouterr().err
    assert f"vlm_model_name={tmp_path}/shared, which is outside of it, and stays so" in said
    assert "tokenizer_name=somebody/tokenizer, which is of the Hugging Face hub, and stays so" in said


def test_the_command(moved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert relocate_command([str(moved)]) == 0
    assert f"vlm_model_name={moved}/vlm" in capsys.readouterr().out
    assert relocate_command([str(moved)]) == 0
    assert "nothing to change" in capsys.readouterr().out
    assert relocate_command([str(moved), "paths=relative"]) == 0
    assert named(moved) == ["./vlm"] * 2
    assert relocate_command([str(moved), "to=/robot/mine"]) == 0
    assert named(moved) == ["/robot/mine/vlm"] * 2
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "usage: python -m reflow.export relocate DIR"),
        (["a", "b"], "usage: python -m reflow.export relocate DIR"),
        (["a", "into=b"], "usage: python -m reflow.export relocate DIR"),
        (["a", "paths=short"], "error: paths=short; allowed: absolute, relative"),
        (["a", "to=robot"], "error: to=robot; allowed: an absolute path"),
        (["/nowhere"], f"error: /nowhere is no policy's folder: it has no {CONFIG}"),
    ],
)
def test_what_it_does_not_take(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert relocate_command(arguments) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith(said)
    assert captured.out == ""


def test_weights_are_left_alone(moved: Path) -> None:
    before = (moved / WEIGHTS).stat().st_mtime_ns
    relocate(moved)
    assert (moved / WEIGHTS).stat().st_mtime_ns == before
