"""A small teacher, a small data set, and the training command on them, inside this process."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from reflow.config import check_settings, run_directory
from reflow.config_path import CONFIG_DIR
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
    with initialize_config_dir(CONFIG_DIR, version_base="1.3"):
        return compose(config_name, list(overrides))


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
