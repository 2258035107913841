"""A small student's folder, and a bundle of it with graphs, once for all tests; both are only read."""

from pathlib import Path

import pytest

from reflow.bundle.observations import Tried, drawn
from reflow.policies import load_policy
from tests.builders import make_teacher_folder


@pytest.fixture(scope="session")
def student_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("run") / "pretrained_model", num_steps=2)


@pytest.fixture(scope="session")
def tried(student_folder: Path) -> Tried:
    return drawn(load_policy(student_folder), student_folder, 2, "pick up the cube")
