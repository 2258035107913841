"""What the tests of the mathematics share."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jaxtyping
import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Keep tiny tensors on one thread: on busy cores two would wait for each other longer than they work."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def as_users_run() -> Iterator[None]:
    """Turn the shape checks of the tests off, so that our own errors are seen as users see them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture(scope="session")
def stock() -> ModuleType:
    """LeRobot's flow-matching primitives, from their file: importing all its policies takes seconds."""
    package = importlib.util.find_spec("lerobot")
    assert package is not None
    assert package.submodule_search_locations is not None
    path = Path(package.submodule_search_locations[0]) / "policies/common/flow_matching.py"
    spec = importlib.util.spec_from_file_location("stock_flow_matching", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
