"""A cache made from several data sets gives what the teacher would give live, whichever of them a frame is of."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.data import ENDPOINT, SAMPLE, VISIT, samples_of, sources_of
from reflow.endpoints import PairCache
from reflow.endpoints.source import LiveEndpoints, Stored
from reflow.endpoints.wanted import fit
from reflow.flow import Draws, PaddingRule, draw_identities, get_solver
from reflow.policies import load_policy, with_velocity
from tests.builders import make_dataset, repo_id

from .conftest import WALKS, fill_cache, open_data


@pytest.fixture(scope="module")
def rollouts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "rollouts", episodes=3, frames=9, seed=1)


@pytest.fixture(scope="module")
def mixture(demos: Path, rollouts: Path) -> dict[str, Any]:
    entries = [
        {
            "repo_id": repo_id(demos),
            "root": str(demos),
            "weight": 1.0,
            "episodes": [0, 1],
            "val_episodes": [2],
        },
        {"repo_id": repo_id(rollouts), "root": str(rollouts), "weight": 2.0},
    ]
    return {"repo_id": None, "root": None, "mixture": entries}


@pytest.fixture(scope="module")
def filled(
    teacher_folder: Path, demos: Path, mixture: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    return fill_cache(tmp_path_factory.mktemp("pairs") / "mixed", teacher_folder, demos, data=mixture)


def ask(filled: Path, folder: Path, mixture: dict[str, Any]) -> PairCache:
    teacher = with_velocity(load_policy(folder), "shared")
    rule = PaddingRule(teacher.space, "full", "full", "full")
    return fit(filled, teacher, folder, rule, sources_of(mixture), WALKS)


def test_a_cache_of_a_mixture_gives_the_live_pairs(
    filled: Path, teacher_folder: Path, demos: Path, mixture: dict[str, Any]
) -> None:
    teacher = with_velocity(load_policy(teacher_folder), "shared")
    cache = ask(filled, teacher_folder, mixture)
    data = open_data(teacher_folder, demos, teacher, **mixture, stored=Stored(cache, 2, draw_pool=6))
    live = LiveEndpoints(teacher, get_solver("euler"), 4, PaddingRule(teacher.space, "full", "full", "full"))
    met: set[int] = set()
    for batch in islice(data.train_dataloader(), 8):
        sample, visit = batch[SAMPLE], batch[VISIT]
        randn = teacher.noise(Draws(WALKS.seed), sample, draw_identities(visit, 2, 6))
        with torch.no_grad():
            expected = live(batch, teacher.encode(batch), randn)
        torch.testing.assert_close(batch[ENDPOINT], expected, rtol=1e-4, atol=1e-5)
        met |= set(sample.tolist())
    assert min(met) < 21  # of the one
    assert max(met) >= 46  # and of the other


def test_the_identity_holds_all_of_them(
    filled: Path, teacher_folder: Path, mixture: dict[str, Any], demos: Path
) -> None:
    manifest = ask(filled, teacher_folder, mixture).manifest
    assert manifest.identity.data_revision == "v3.0, v3.0"
    samples, episodes = samples_of(open_data(teacher_folder, demos, **mixture).sources)
    assert samples.tolist() == [*range(21), *range(46, 64)]
    assert episodes.unique().tolist() == [0, 1]
    first, second = mixture["mixture"]
    for others in ([second, first], [first], [first, second | {"rename": {"a": "b"}}]):
        with pytest.raises(ValueError, match="holds other pairs than those asked for"):
            ask(filled, teacher_folder, mixture | {"mixture": others})
