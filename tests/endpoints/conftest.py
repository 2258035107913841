"""Caches of a small teacher and a small data set, filled in this process."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning as L
import pytest

from reflow.data import LeRobotDataModule, load_metadata, samples_of
from reflow.endpoints import Layout, Manifest, Part, Samples, missing_work, settle
from reflow.endpoints.fill import FillPairs, ShardWriter
from reflow.endpoints.wanted import Walks, decisive_versions, pair_identity
from reflow.flow import PaddingRule, get_solver
from reflow.policies import FlowPolicy, load_policy, load_processors, with_velocity
from tests.builders import make_dataset, make_teacher_folder, repo_id

WALKS = Walks("euler", None, seed=3, precision="32-true", matmul_precision="highest")
LENGTHS = (12, 9, 15, 10)
Fill = Callable[..., Path]


@pytest.fixture(scope="session")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "demos", frames=LENGTHS)


@pytest.fixture(scope="session")
def teacher_folder(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "pretrained_model"
    return make_teacher_folder(folder, statistics=load_metadata(repo_id(demos), demos).stats, num_steps=4)


@pytest.fixture(scope="session")
def policy(teacher_folder: Path) -> FlowPolicy:
    return load_policy(teacher_folder)


@pytest.fixture(scope="session")
def preprocess(teacher_folder: Path, policy: FlowPolicy) -> Any:
    return load_processors(teacher_folder, policy)[0]


@pytest.fixture(scope="session")
def cache(demos: Path, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With everything in it; only read."""
    stores = {"vision": "float32", "prefix": "float32"}
    return fill_cache(tmp_path_factory.mktemp("pairs") / "cache", teacher_folder, demos, stores=stores)


@pytest.fixture
def fill(demos: Path, teacher_folder: Path, tmp_path: Path) -> Fill:
    """``fill(**changes)``: a cache of one's own."""
    return lambda name="own", **changes: fill_cache(tmp_path / name, teacher_folder, demos, **changes)


def open_data(
    folder: Path, demos: Path, teacher: FlowPolicy | None = None, **changes: Any
) -> LeRobotDataModule:
    teacher = teacher or load_policy(folder)
    preprocess, _ = load_processors(folder, teacher)
    arguments = {"repo_id": repo_id(demos), "root": demos, "batch_size": 4, "num_workers": 0, "seed": 3}
    return LeRobotDataModule(teacher.config, preprocess, **(arguments | changes))


def filler(
    path: Path,
    folder: Path,
    root: Path,
    *,
    draws: int = 6,
    stores: Mapping[str, str] | None = None,
    rule: tuple[Any, ...] = ("full", "full", "full"),
    walks: Walks = WALKS,
    part: Part | None = None,
    data: Mapping[str, Any] | None = None,
    **layout: int,
) -> tuple[FillPairs, Manifest]:
    """What makes a cache's missing shards, and the manifest it is to have."""
    teacher = with_velocity(load_policy(folder), "shared")
    module = open_data(folder, root, teacher, **(data or {}))
    padding = PaddingRule(teacher.space, *rule)
    samples, _ = samples_of(module.sources)
    sizes = {"samples_per_shard": 10, "batch_size": 4, "draws_at_once": 4} | layout
    asked = Manifest(
        pair_identity(teacher, folder, padding, module.sources, walks),
        Layout(Samples.of(samples), *sizes.values(), blocks=((0, draws),), stores=stores or {}),
        {"command": "python -m reflow.pairs name=test"},
        decisive_versions(),
    )
    manifest = settle(asked, path)
    work = missing_work(path, manifest, part or Part())
    filling = FillPairs(
        teacher,
        padding,
        module,
        manifest.layout,
        work,
        solver=get_solver(walks.solver),
        num_steps=manifest.identity.num_steps,
        seed=walks.seed,
    )
    return filling, manifest


def fill_cache(path: Path, folder: Path, root: Path, **settings: Any) -> Path:
    filling, manifest = filler(path, folder, root, **settings)
    manifest.write(path)
    predictor(path).predict(filling, return_predictions=False)
    return path


def predictor(path: Path) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        callbacks=[ShardWriter(path)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=path.parent,
    )


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a cache."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
