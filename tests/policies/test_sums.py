"""What has changed since a student was delivered is found: weights are refused, other files told."""

import shutil
import subprocess
from pathlib import Path

import pytest

from reflow.errors import UserError
from reflow.policies.sums import SUMS, check_sums, write_sums


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A delivered folder."""
    (tmp_path / "student" / "vlm").mkdir(parents=True)
    for name, content in (
        ("model.safetensors", b"weights"),
        ("config.json", b"{}"),
        ("vlm/config.json", b"{}"),
    ):
        (tmp_path / "student" / name).write_bytes(content)
    write_sums(tmp_path / "student")
    return tmp_path / "student"


def test_sha256sum_reads_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    check_sums(folder, "student")
    assert not capsys.readouterr().err
    if shutil.which("sha256sum"):
        subprocess.run(
            ["sha256sum", "--check", "--strict", SUMS], cwd=folder, check=True, capture_output=True
        )


def test_changed_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weighty")
    with pytest.raises(
        UserError, match=r"student: .*model\.safetensors is not what was written.*delete SHA256SUMS"
    ):
        check_sums(folder, "student")


def test_another_changed_file_is_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "vlm" / "config.json").write_bytes(b"[]")
    check_sums(folder, "student")
    assert f"{folder / 'vlm' / 'config.json'} is not what was written" in capsys.readouterr().err


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"names config\.json, and .* is not there"):
        check_sums(folder, "student")


@pytest.mark.parametrize(
    "line", ["0  config.json", f"{'0' * 64}  ../config.json", f"{'0' * 64}  /etc/passwd"]
)
def test_a_damaged_line_is_refused(folder: Path, line: str) -> None:
    (folder / SUMS).write_text(line + "\n")
    with pytest.raises(UserError, match=r"SHA256SUMS, line 1 is damaged"):
        check_sums(folder, "student")
