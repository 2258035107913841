"""Learning from a cache is the live run: the same batches, noises, times and endpoints, and so the same losses.

With batches and sub-batches of 16 observations or more, to the last bit. Below, as in most tests here, matrix
products take other paths for other batch sizes, and what remains is rounding (1e-6 of an endpoint).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning as L
import pytest
import torch

from reflow.data import ENDPOINT, LeRobotDataModule, load_metadata
from reflow.demo import embedded
from reflow.distill.optim import OptimizerSettings
from reflow.distill.student import make_student
from reflow.endpoints import PairCache
from reflow.endpoints.source import LiveEndpoints, Stored
from reflow.errors import UserError
from reflow.flow import EULER, PaddingRule, UniformTime
from reflow.policies import load_policy, with_velocity
from tests.builders import make_dataset, make_distillation, make_teacher_folder, repo_id
from tests.endpoints.conftest import LENGTHS, fill_cache, open_data

STEPS = 30  # 36 frames in batches of 4: more than three epochs, so the pool comes round
POOL = 4
Losses = list[float]


class Curve(L.Callback):
    """Keeps every loss, and what the batches carried."""

    def __init__(self) -> None:
        self.losses: Losses = []
        self.keys: set[str] = set()

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.losses.append(outputs["loss"].item())
        self.keys |= batch.keys()


@pytest.fixture(scope="module")
def demos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "demos", frames=LENGTHS)


@pytest.fixture(scope="module")
def own_teacher(demos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("teacher") / "pretrained_model"
    return make_teacher_folder(folder, statistics=load_metadata(repo_id(demos), demos).stats, num_steps=4)


@pytest.fixture(scope="module")
def filled(demos: Path, own_teacher: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stores = {"vision": "float32", "prefix": "float32"}
    return fill_cache(
        tmp_path_factory.mktemp("pairs") / "cache", own_teacher, demos, stores=stores, draws=POOL
    )


def curve(
    folder: Path,
    demos: Path,
    cache: PairCache | None,
    pool: int | None = POOL,
    seed: int = 3,
    noise_seed: int | None = None,
    steps: int = STEPS,
    **data_arguments: Any,
) -> Curve:
    teacher = with_velocity(load_policy(folder), "shared")
    rule = PaddingRule(teacher.space, "full", "full", "full")
    module = make_distillation(
        teacher,
        make_student(teacher, folder, rule),
        rule,
        solver=EULER,
        time=UniformTime(),
        draws=2,
        draw_pool=pool,
        times=2,
        seed=seed,
        noise_seed=noise_seed,
        stored=cache is not None,
        optimizer=OptimizerSettings(lr=1e-3),
    )
    stored = None if cache is None else Stored(cache, 2, pool)
    data: LeRobotDataModule = open_data(folder, demos, teacher, stored=stored, **data_arguments)
    kept = Curve()
    L.Trainer(
        accelerator="cpu",
        max_steps=steps,
        callbacks=[kept],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        limit_val_batches=0,
        use_distributed_sampler=False,
        default_root_dir=demos.parent,
    ).fit(module, data)
    return kept


@pytest.fixture(scope="module")
def live(own_teacher: Path, demos: Path) -> Losses:
    found = curve(own_teacher, demos, None)
    assert ENDPOINT not in found.keys
    assert len(found.losses) == STEPS
    return found.losses


@pytest.mark.parametrize("stores", [(), ("vision",), ("prefix",)])
def test_the_loss_curve_is_the_live_one(
    own_teacher: Path, demos: Path, filled: Path, live: Losses, stores: tuple[str, ...]
) -> None:
    cache = PairCache(filled)
    cache.stores = {name: cache.stores[name] for name in stores}
    found = curve(own_teacher, demos, cache)
    assert ENDPOINT in found.keys
    assert found.losses == pytest.approx(live, rel=1e-5)


def test_in_batches_of_sixteen_it_is_the_live_one_to_the_last_bit(tmp_path: Path) -> None:
    """The demo's own teacher and data; two and a half epochs of one episode."""
    chosen = {"episodes": [0], "val_episodes": [1], "batch_size": 16, "allow_short_episodes": True}
    sizes = {"batch_size": 16, "samples_per_shard": 64, "draws_at_once": 2}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        path = fill_cache(
            tmp_path / "cache",
            embedded.TEACHER,
            embedded.DATA,
            draws=4,
            stores={"vision": "float32"},
            data=chosen,
            **sizes,
        )
        live, cached = (
            curve(embedded.TEACHER, embedded.DATA, cache, steps=16, **chosen).losses
            for cache in (None, PairCache(path))
        )
    finally:
        torch.set_num_threads(threads)
    assert live == cached
    assert len(set(live)) == 16


def test_the_same_cache_gives_the_same_curve_to_the_last_bit(
    own_teacher: Path, demos: Path, filled: Path
) -> None:
    one, other = (curve(own_teacher, demos, PairCache(filled)).losses for _ in range(2))
    assert one == other


def test_a_run_of_another_seed_learns_from_the_same_cache(
    own_teacher: Path, demos: Path, filled: Path, live: Losses
) -> None:
    found = curve(own_teacher, demos, PairCache(filled), seed=4, noise_seed=3).losses
    assert found == pytest.approx(curve(own_teacher, demos, None, seed=4, noise_seed=3).losses, rel=1e-5)
    assert (
        min(abs(a - b) / b for a, b in zip(found[:5], live[:5], strict=True)) > 1e-4
    )  # its times are its own


def test_a_command_of_another_seed_learns_from_it(
    run: Callable[..., dict[str, float]], teacher_folder: Path, dataset: Path, tmp_path: Path
) -> None:
    cache = fill_cache(tmp_path / "cache", teacher_folder, dataset, draws=POOL)  # its noise has seed 3
    settings = ["+fix=full32", "seed=4", "objective.draw_pool=4"]
    with pytest.raises(UserError, match=r"seed: 3 in the cache, 4 asked for; seed=.*pairs\.seed="):
        run(*settings, f"pairs.path={cache}")
    stored = run(*settings, f"pairs.path={cache}", "pairs.seed=3")["train/loss"]
    (tmp_path / "run").rename(tmp_path / "stored")
    assert stored == pytest.approx(run(*settings, "pairs.seed=3")["train/loss"], rel=1e-5)


def test_the_curve_tells_pairs_apart(own_teacher: Path, demos: Path, live: Losses) -> None:
    """Or the tolerance above would hide a wrong pool or seed."""
    pool = curve(own_teacher, demos, None, pool=None).losses
    assert pool[:18] == live[:18]  # two epochs of two draws are the pool
    assert max(abs(a - b) / b for a, b in zip(pool[18:], live[18:], strict=True)) > 1e-2
    seed = curve(own_teacher, demos, None, seed=4).losses
    assert min(abs(a - b) / b for a, b in zip(seed[:5], live[:5], strict=True)) > 1e-4


def test_the_teacher_walks_no_step(
    own_teacher: Path, demos: Path, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("the teacher walked")

    monkeypatch.setattr(LiveEndpoints, "__call__", refuse)
    curve(own_teacher, demos, PairCache(filled))
    with pytest.raises(AssertionError, match="the teacher walked"):
        curve(own_teacher, demos, None)
