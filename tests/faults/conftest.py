"""A small teacher, a small data set and a cache of its pairs for commands in processes of their own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reflow.data import load_metadata
from tests.builders import make_dataset, make_teacher_folder, repo_id

os.environ.setdefault("OMP_NUM_THREADS", "1")
KILLS = int(os.environ.get("KILLS", "20"))
"""Of a training; the other faults come in proportion."""

SMALL = (
    "+fix=full32",
    "trainer.max_steps=200",
    "trainer.val_check_interval=50",
    "trainer.log_every_n_steps=3",
    "trainer.accelerator=cpu",
    "data.batch_size=4",
    "data.val_frames=4",
    "objective.draws=2",
    "objective.draw_pool=4",
    "callbacks.checkpoint.every_n_train_steps=7",
    "callbacks.endpoints.reference_steps=12",
    "optimizer.lr=1e-3",
)
PAIRS = (
    "+fix=full32",
    "trainer.accelerator=cpu",
    "data.batch_size=4",
    "data.num_workers=0",
    "draws=4",
    "store=vision",
    "samples_per_shard=4",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All of this folder is the suite of faults."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.faults)


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Teacher and data, as overrides of any command."""
    scratch = tmp_path_factory.mktemp("inputs")
    root = make_dataset(scratch / "set", frames=40)
    statistics = load_metadata(repo_id(root), root).stats
    teacher = make_teacher_folder(scratch / "pretrained_model", statistics=statistics, num_steps=4)
    return [f"teacher.path={teacher}", f"data.repo_id={repo_id(root)}", f"data.root={root}"]
