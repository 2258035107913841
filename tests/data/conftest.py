"""One data set on disk, and one small policy that looks at it; both are only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from reflow.data import load_metadata
from reflow.policies import FlowPolicy, load_policy, load_processors
from reflow.policies.processors import Pipeline
from tests.builders import make_dataset, make_teacher_folder, repo_id

LENGTHS = (12, 9, 15, 10)
"""Frames of the episodes of ``demos``."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tiny tensors on one thread: on busy cores two would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


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
