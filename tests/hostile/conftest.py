"""A whole policy and a whole data set, for hostile files to be put into."""

from pathlib import Path

import pytest

from tests.builders import make_dataset, make_teacher_folder
from tests.hostile.scene import Scene


@pytest.fixture(scope="session")
def whole_teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")


@pytest.fixture(scope="session")
def whole_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set", episodes=2, frames=3)


@pytest.fixture
def scene(tmp_path: Path, whole_teacher: Path, whole_data: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    return Scene(tmp_path, whole_teacher, whole_data, monkeypatch)
