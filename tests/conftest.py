"""What holds for every test: no network, no GPU, one thread, an off-screen renderer."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("MUJOCO_GL", "egl")
os.environ["CUDA_VISIBLE_DEVICES"] = ""

from collections.abc import Iterator

import jaxtyping
import pytest
import torch

torch.set_num_threads(1)  # tiny tensors: on busy cores two threads would wait longer than they work


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Turn the shape checks of the tests off, so that our own errors are seen as users see them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
