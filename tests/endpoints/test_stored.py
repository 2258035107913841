"""Batches from a pair cache: the same visits as live ones, without what need not be read."""

import os
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import get_worker_info

from reflow.data import ENDPOINT, SAMPLE, VISIT, Frames, LeRobotDataModule
from reflow.endpoints import PairCache
from reflow.endpoints.source import Stored
from reflow.policies import CONTEXT, VISION
from tests.builders import TOP, repo_id
from tests.endpoints.conftest import fill_cache

STATE, TOKENS = "observation.state", "observation.language.tokens"
Build = Callable[..., LeRobotDataModule]


@pytest.fixture(scope="session")
def filled(demos: Path, teacher_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    stores = {"vision": "float32", "prefix": "float32"}
    return fill_cache(tmp_path_factory.mktemp("pairs") / "cache", teacher_folder, demos, stores=stores)


@pytest.fixture
def build(demos: Path, policy: Any, preprocess: Any) -> Build:
    def build(**changes: Any) -> LeRobotDataModule:
        defaults = {"repo_id": repo_id(demos), "root": demos, "batch_size": 4, "num_workers": 0, "seed": 3}
        return LeRobotDataModule(policy.config, preprocess, **(defaults | changes))

    return build


def opened(filled: Path, *stores: str) -> PairCache:
    """The cache as if it had only these stores."""
    cache = PairCache(filled)
    cache.stores = {name: cache.stores[name] for name in stores}
    return cache


def take(data: LeRobotDataModule, count: int = 12) -> list[dict[str, Any]]:
    return list(islice(data.train_dataloader(), count))


@pytest.mark.parametrize("store", [(), ("vision",), ("prefix",), ("vision", "prefix")])
def test_a_cached_batch_is_the_live_one_and_its_endpoints(
    build: Build, filled: Path, store: tuple[str, ...]
) -> None:
    cache = opened(filled, *store)
    for live, batch in zip(take(build()), take(build(stored=Stored(cache, 2, 5))), strict=True):
        for key in batch.keys() & live.keys():
            if isinstance(live[key], torch.Tensor):
                assert torch.equal(batch[key], live[key]), key
        met = (live[VISIT][:, None] * 2 + torch.arange(2)) % 5
        assert torch.equal(batch[ENDPOINT], cache.endpoints(live[SAMPLE], met))
        if "prefix" in store:
            assert batch.keys() == {SAMPLE, VISIT, ENDPOINT, CONTEXT}
        elif "vision" in store:
            assert batch.keys() == (live.keys() - {TOP}) | {ENDPOINT, VISION}
            assert {STATE, TOKENS} <= batch.keys()
        else:
            assert batch.keys() == live.keys() | {ENDPOINT}


def test_held_out_batches_are_live(build: Build, filled: Path) -> None:
    cached = build(stored=Stored(opened(filled, "prefix"), 2))
    for live, batch in zip(build().val_dataloader(), cached.val_dataloader(), strict=True):
        assert batch.keys() == live.keys()
        assert torch.equal(batch[TOP], live[TOP])


@pytest.mark.parametrize(("store", "read"), [("vision", {STATE, TOKENS}), ("prefix", set())])
@pytest.mark.parametrize("preload", [False, True])
def test_no_camera_is_decoded(
    build: Build, filled: Path, monkeypatch: pytest.MonkeyPatch, store: str, read: set[str], preload: bool
) -> None:
    data = build(stored=Stored(opened(filled, store), 2, 6), preload=preload)
    expected = take(build(), 3)

    def refuse(*_: Any) -> None:
        raise AssertionError("a frame was decoded")

    monkeypatch.setattr(Frames, "_decode", refuse)
    with pytest.raises(AssertionError, match="a frame was decoded"):
        take(build(), 1)  # or the trap would catch nothing
    for batch, live in zip(take(data, 3), expected, strict=True):
        assert {STATE, TOKENS} & batch.keys() == read
        assert all(torch.equal(batch[key], live[key]) for key in read)


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_workers_read_for_themselves_and_change_nothing(build: Build, filled: Path, context: str) -> None:
    alone = take(build(stored=Stored(opened(filled, "prefix"), 2, 6)), 9)
    cache = opened(filled, "prefix")
    cache.endpoints(torch.tensor([0]), torch.tensor([[0]]))  # a shard is mapped here before the workers start
    loader = build(stored=Stored(cache, 2, 6), num_workers=2).train_dataloader()
    loader.multiprocessing_context = context
    for batch, other in zip(islice(loader, 9), alone, strict=True):
        assert torch.equal(batch[ENDPOINT], other[ENDPOINT])
        assert torch.equal(batch[CONTEXT]["keys"], other[CONTEXT]["keys"])


def test_the_cache_is_read_in_the_workers(
    build: Build, filled: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = PairCache.endpoints

    def where(self: PairCache, sample: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
        assert get_worker_info() is not None
        return inside(self, sample, draw) * 0 + os.getpid()

    monkeypatch.setattr(PairCache, "endpoints", where)
    data = build(stored=Stored(opened(filled), 1, 6), num_workers=2)
    processes = {batch[ENDPOINT].flatten()[0].item() for batch in take(data, 6)}
    assert len(processes) == 2


def test_more_draws_than_there_are_is_refused(build: Build, filled: Path) -> None:
    with pytest.raises(
        ValueError, match=r"objective.draw_pool=7 asks for more .*, 6; .*draw_pool=6\), .* draws=7"
    ):
        build(stored=Stored(opened(filled), 2, 7))
    with pytest.raises(ValueError, match=r"objective.draws=8 with objective.draw_pool=None asks for more"):
        build(stored=Stored(opened(filled), 8))


@pytest.mark.parametrize(("max_steps", "look_times", "visits"), [(27, 1, 3), (28, 1, 4), (9, 4, 4)])
def test_a_run_that_would_need_more_is_refused_before_it_begins(
    build: Build, filled: Path, max_steps: int, look_times: int, visits: int
) -> None:
    """36 frames in batches of 4: 9 steps an epoch; with 2 draws of 6 it lasts three epochs."""
    data = build(stored=Stored(opened(filled), 2), look_times=look_times, look_within=10)
    data.trainer = SimpleNamespace(
        max_steps=max_steps, accumulate_grad_batches=1, global_step=0, global_rank=0, world_size=1
    )
    if visits * 2 <= 6:
        take(data, 1)
        return
    with pytest.raises(
        ValueError, match=rf"up to {visits} times with 2 new .*draw_pool=6\).* draws={2 * visits}"
    ):
        data.train_dataloader()
