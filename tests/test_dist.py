"""What is released: one version everywhere, a wheel with all that its commands need, which runs by itself.

Building wants hatchling and the empty environment wants everything that reflow depends on: from uv's cache, or from
where pip is told to look.
"""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
UV = str(ROOT / ".ci" / "uv")


def run(*command: str, **more: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(UV, "build", "--quiet", "--out-dir", str(folder), str(ROOT))
    return folder


@pytest.fixture(scope="module")
def wheel(dist: Path) -> Path:
    return dist / f"reflow-{VERSION}-py3-none-any.whl"


def tags() -> Iterator[str]:
    """Versions that the commit at hand is tagged with."""
    if (ROOT / ".git").exists():
        yield from run("git", "tag", "--points-at", "HEAD", "v*", cwd=ROOT).split()


def test_version_changelog_and_tag_agree() -> None:
    headings = re.findall(
        r"^## \[?([^] \n]+)\]?(?: - (\S+))?$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    released = [(version, date) for version, date in headings if version != "Unreleased"]
    assert released[0][0] == VERSION
    assert all(re.fullmatch(r"\d{4}-\d\d-\d\d", date) for _, date in released)
    for tag in tags():
        assert tag == f"v{VERSION}"
        assert headings[0][0] == VERSION, "what is released is no longer unreleased"


def test_the_documentation_installs_this_version() -> None:
    named = re.findall(r"reflow-(\d[\w.]*)-py3", (ROOT / "docs" / "install.md").read_text())
    assert named
    assert set(named) == {VERSION}


@pytest.mark.slow
def test_the_wheel_holds_configuration_and_demo_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    tracked = run("git", "ls-files", "reflow", "conf", cwd=ROOT).split()
    ours = {f"reflow/{name}" if name.startswith("conf/") else name for name in tracked}
    assert {name for name in names if ".dist-info/" not in name} == ours
    assert "reflow/conf/train.yaml" in ours
    assert "reflow/demo/assets/teacher/model.safetensors" in ours


@pytest.mark.slow
def test_the_size_that_is_told_is_the_wheels(wheel: Path) -> None:
    told = re.search(
        r"wheel has ([\d.]+) MB, of which ([\d.]+) are", (ROOT / "docs" / "install.md").read_text()
    )
    assert told is not None
    inside = zipfile.ZipFile(wheel).infolist()
    assets = sum(file.compress_size for file in inside if file.filename.startswith("reflow/demo/assets/"))
    assert abs(wheel.stat().st_size / 1e6 - float(told[1])) < 0.5
    assert abs(assets / 1e6 - float(told[2])) < 0.5


@pytest.mark.slow
def test_the_sdist_is_the_repository(dist: Path) -> None:
    with tarfile.open(dist / f"reflow-{VERSION}.tar.gz") as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    assert set(run("git", "ls-files", cwd=ROOT).split()) <= inside


@pytest.mark.slow
def test_the_wheel_runs_in_an_empty_environment_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    python = tmp_path / "venv" / "bin" / "python"
    run(UV, "venv", "--quiet", "--no-project", "--python", sys.executable, str(python.parents[1]))
    lock = str(ROOT / "requirements.lock")  # of what is tested; without it pip takes newer ones
    run(UV, "pip", "install", "--quiet", "--python", str(python), "--constraint", lock, str(wheel))
    run(UV, "pip", "check", "--python", str(python))

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    small = ("trainer.max_steps=2", "trainer.val_check_interval=2", "data.batch_size=2", "data.val_frames=2")
    alone = {"PATH": os.defpath, "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    train = [str(python.with_name("reflow-train")), "+fix=full32", "run_dir=mine", *small]
    run(*train, cwd=elsewhere, env=alone)
    assert (elsewhere / "mine" / "pretrained_model" / "SHA256SUMS").is_file()
    assert (elsewhere / "mine" / "report.html").is_file()
    assert "finished" in run(*train, cwd=elsewhere, env=alone)  # found again
