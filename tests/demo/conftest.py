"""One world for all tests of the demo task: building it takes a second."""

import pytest

from reflow.demo.demonstrator import Demonstrator
from reflow.demo.rollout import Stage
from reflow.demo.scene import PickScene


@pytest.fixture(scope="session")
def scene() -> PickScene:
    """The scene with its default cube range; every test resets it."""
    return PickScene()


@pytest.fixture(scope="session")
def demonstrator(scene: PickScene) -> Demonstrator:
    """The demonstrator of that scene."""
    return Demonstrator(scene.physics.model.ptr)


@pytest.fixture(scope="session")
def stage() -> Stage:
    """Where demonstrations are given, as they are by default."""
    return Stage()
