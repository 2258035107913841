"""A small teacher, a small data set, and the training command on them, inside this process."""

from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest
from omegaconf import DictConfig

from reflow import cli
from reflow.config import run_directory
from reflow.config.train import check_settings
from reflow.train import train
from tests.builders import make_dataset, make_teacher_folder, repo_id

SMALL = (
    "trainer.max_steps=6",
    "trainer.val_check_interval=3",
    "data.batch_size=3",
    "data.val_frames=4",
    "objective.draws=2",
    "callbacks.checkpoint.every_n_train_steps=3",
    "callbacks.endpoints.reference_steps=12",
    "callbacks.progress=null",
    "callbacks.throughput.skip=1",
    "optimizer.lr=1e-3",
)


@pytest.fixture(scope="session")
def teacher_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_teacher_folder(tmp_path_factory.mktemp("teacher") / "pretrained_model", num_steps=4)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set")


def composed(*overrides: str, config_name: str = "train") -> DictConfig:
    """A configuration as the command line would compose it."""
    where = "reflow.demo" if find_spec(f"reflow.demo.{config_name}") else "reflow"
    import_module(f"{where}.{config_name}")  # a command brings its schema
    return cli.composed(config_name, *overrides)


@pytest.fixture
def run(teacher_folder: Path, dataset: Path, tmp_path: Path) -> Callable[..., dict[str, float]]:
    """``run(*overrides)``: the training command on the small teacher, into ``tmp_path / "run"``."""

    def start(*overrides: str) -> dict[str, float]:
        config = composed(
            f"teacher.path={teacher_folder}",
            f"data.repo_id={repo_id(dataset)}",
            f"data.root={dataset}",
            f"run_dir={tmp_path / 'run'}",
            *SMALL,
            *overrides,
        )
        check_settings(config)
        return train(config, run_directory(config, list(overrides)))

    return start
