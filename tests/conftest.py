"""What holds for every test: no network, no GPU, one thread unless told, an off-screen renderer."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

import tempfile
from collections.abc import Iterator

import jaxtyping
import pytest
import torch

_mended = tempfile.TemporaryDirectory(prefix="reflow-tests-")  # as long as the tests run
os.environ["REFLOW_CACHE"] = _mended.name
os.environ["TRACKIO_DIR"] = f"{_mended.name}/trackio"  # read at its first import

# Tiny tensors: on busy cores two threads would wait longer than they work. The suite passes with more, too.
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Turn the shape checks of the tests off, so that our own errors are seen as users see them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
