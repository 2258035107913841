"""A small teacher that the objectives learn from."""

from pathlib import Path

import pytest

from tests.builders import make_teacher_folder


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", num_steps=4)
