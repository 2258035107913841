"""One VLM folder and one teacher folder for all tests of the adapters; both are only read."""

from pathlib import Path

import pytest

from tests.builders import make_teacher_folder, make_vlm_folder


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")
