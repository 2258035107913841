"""Augmented frames: another look at every visit, the same one for the same visit, and held-out frames as they are."""

from pathlib import Path

import pytest
import torch

from reflow.config.pairs import check_pair_settings
from reflow.data import LeRobotDataModule
from reflow.data.order import Visit
from reflow.errors import UserError
from tests.builders import TOP, make_dataset, make_policy, make_vlm_folder, repo_id
from tests.distill.conftest import composed


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> object:
    return make_policy(make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")).config


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_dataset(tmp_path_factory.mktemp("data") / "set", frames=9)


def opened(config: object, root: Path, **how: object) -> LeRobotDataModule:
    known = {"repo_id": repo_id(root), "root": root, "num_workers": 0}
    return LeRobotDataModule(config, dict, **known, **how)


def test_a_visit_has_a_look_of_its_own_and_keeps_it(config: object, root: Path) -> None:
    plain, seen = (opened(config, root, augment=augment).train_frames for augment in (False, True))
    again = opened(config, root, augment=True, preload=True).train_frames
    rows = [Visit(row, visit) for row in (0, 5) for visit in (0, 1)]
    looks = [seen[row][TOP] for row in rows]
    assert all(
        torch.equal(look, again[row][TOP]) for look, row in zip(looks, rows, strict=True)
    )  # whoever reads it
    originals = [plain[row][TOP] for row in rows]
    assert all(look.shape == original.shape for look, original in zip(looks, originals, strict=True))
    assert torch.equal(originals[0], originals[1])
    assert not torch.equal(looks[0], looks[1])  # another visit
    changes = [look - original for look, original in zip(looks, originals, strict=True)]
    assert all(change.abs().max() > 1e-3 for change in changes)
    assert torch.equal(seen[rows[0]]["observation.state"], plain[rows[0]]["observation.state"])
    other = opened(config, root, augment=True, seed=1).train_frames
    assert not torch.equal(other[rows[0]][TOP], looks[0])


def test_torch_s_generator_and_held_out_frames_stay_as_they_are(config: object, root: Path) -> None:
    data = opened(config, root, augment=True)
    torch.manual_seed(5)
    state = torch.get_rng_state()
    data.train_frames[Visit(0, 0)]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(data.held_out[0][TOP], opened(config, root).held_out[0][TOP])


def test_a_cache_holds_no_augmented_frames(config: object, root: Path) -> None:
    class Stored:
        reading = "all"

    with pytest.raises(UserError, match=r"data\.augment=true with pairs\.path: a cache holds the endpoints"):
        opened(config, root, augment=True, stored=Stored())
    with pytest.raises(
        UserError, match=r"data\.augment=true: a cache holds the endpoints of frames as they are"
    ):
        check_pair_settings(composed("+fix=full32", "data.augment=true", config_name="pairs"))
