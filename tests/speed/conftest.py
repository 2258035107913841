"""One tiny policy with data, laid out once, and a workshop that builds contenders there."""

from pathlib import Path

import pytest

from reflow.speed.conditions import Conditions
from reflow.speed.disk import PairsOnDisk, fill_pairs
from reflow.speed.geometry import GEOMETRIES, Place, lay_out
from reflow.speed.workshop import Workshop


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return lay_out(GEOMETRIES["tiny"], tmp_path_factory.mktemp("tiny"), frames=4)


@pytest.fixture(scope="session")
def pairs(place: Place, tmp_path_factory: pytest.TempPathFactory) -> PairsOnDisk:
    return fill_pairs(
        place,
        tmp_path_factory.mktemp("pairs") / "cache",
        draws=4,
        stores=["vision", "prefix"],
        batch_size=2,
        precision="32-true",
        velocity="stock",
        device="cpu",
        seed=0,
    )


@pytest.fixture
def workshop(place: Place) -> Workshop:
    return Workshop(place, Conditions(batch_size=2, draws=2))


@pytest.fixture
def folder(place: Place) -> Path:
    return Path(place.teacher)
