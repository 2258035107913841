"""One VLM folder and one teacher folder for all tests of the adapters; both are only read."""

import shutil
from pathlib import Path

import pytest

from tests.builders import make_teacher_folder, make_vlm_folder


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is mended goes to a cache of the test's own."""
    monkeypatch.setenv("REFLOW_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def copy(teacher_folder: Path, tmp_path: Path) -> Path:
    """A teacher folder to break."""
    return Path(shutil.copytree(teacher_folder, tmp_path / "copy"))
