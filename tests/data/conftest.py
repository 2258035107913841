"""One data set on disk, and one small policy that looks at it; both are only read."""

from pathlib import Path

import pytest

from reflow.data import load_metadata
from reflow.policies import FlowPolicy, load_policy, load_processors
from reflow.policies.processors import Pipeline
from tests.builders import make_dataset, make_teacher_folder, repo_id

LENGTHS = (12, 9, 15, 10)
"""Frames of the episodes of ``demos``."""


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "demos", frames=LENGTHS)


@pytest.fixture(scope="session")
def teacher_folder(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    statistics = load_metadata(repo_id(demos), demos).stats
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", statistics=statistics)


@pytest.fixture(scope="session")
def policy(teacher_folder: Path) -> FlowPolicy:
    return load_policy(teacher_folder)


@pytest.fixture(scope="session")
def preprocess(teacher_folder: Path, policy: FlowPolicy) -> Pipeline:
    return load_processors(teacher_folder, policy)[0]
