"""What the tests of the mathematics share."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


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
