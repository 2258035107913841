"""One VLM folder and one teacher folder for all tests of the adapters; both are only read."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.builders import make_teacher_folder, make_vlm_folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tiny tensors on one thread: on busy cores two would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model")
