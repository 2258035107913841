"""Reading at random: what the shards hold, in any order, through copies of the cache; and what is refused."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.endpoints import Manifest, PairCache, seal, write_shard

from .conftest import LENGTHS, Fill

FRAMES = sum(LENGTHS[:3])  # the last episode is held out


def whole(cache: Path, folder: str, key: str) -> torch.Tensor:
    return torch.cat([load_file(file)[key] for file in sorted((cache / folder).glob("*.safetensors"))])


@pytest.fixture
def own(cache: Path, tmp_path: Path) -> Path:
    """A cache to break."""
    return Path(shutil.copytree(cache, tmp_path / "own"))


def test_endpoints_are_those_of_sample_and_draw(cache: Path) -> None:
    expected = whole(cache, "draws-00000-00006", "endpoint")
    assert expected.shape == (FRAMES, 6, 8, 32)
    assert len(expected.flatten(0, 1).unique(dim=0)) == FRAMES * 6  # or a mix-up would not show
    sample = torch.tensor([35, 0, 17, 9, 10, 17])
    draw = torch.tensor([[0, 5], [3, 3], [2, 1], [5, 4], [0, 1], [4, 0]])
    found = PairCache(cache).endpoints(sample, draw)
    assert torch.equal(found, expected[sample[:, None], draw])


def test_stores_are_those_of_the_sample_padded_with_zeros(cache: Path) -> None:
    reader, sample = PairCache(cache), torch.tensor([30, 2, 15])
    vision = reader.stored("vision", sample)
    assert torch.equal(vision["features"], whole(cache, "vision", "features")[sample])

    prefix = reader.stored("prefix", sample)
    shards = [load_file(cache / "prefix" / f"0000{number // 10}.safetensors") for number in sample.tolist()]
    lengths = [shard["keys"].shape[1] for shard in shards]
    assert prefix["keys"].shape[1] == max(lengths)
    for row, (number, shard, length) in enumerate(zip(sample.tolist(), shards, lengths, strict=True)):
        assert torch.equal(prefix["keys"][row, :length], shard["keys"][number % 10])
        assert not prefix["keys"][row, length:].any()
        assert not prefix["pad_masks"][row, length:].any()


def test_shards_of_different_length_meet_in_one_batch(own: Path) -> None:
    """As from a data set whose tasks are of different length: here one shard's prefix is cut on purpose."""
    file = own / "prefix" / "00001.safetensors"
    write_shard(file, {key: value[:, :-2].contiguous() for key, value in load_file(file).items()})
    seal(own)
    found = PairCache(own).stored("prefix", torch.tensor([12, 3]))
    longest = load_file(own / "prefix" / "00000.safetensors")["keys"]
    assert torch.equal(found["keys"][1], longest[3])
    assert torch.equal(found["keys"][0, :-2], load_file(file)["keys"][2])
    assert not found["keys"][0, -2:].any()


def test_a_copy_reads_for_itself(cache: Path) -> None:
    reader = PairCache(cache)
    sample, draw = torch.tensor([4, 31]), torch.tensor([[1], [2]])
    before = reader.endpoints(sample, draw)
    packed = pickle.dumps(reader)
    assert len(packed) < 20_000  # no tensor goes along
    assert torch.equal(pickle.loads(packed).endpoints(sample, draw), before)


def test_what_is_not_stored_or_left_out_is_none_of_the_stores(fill: Fill, cache: Path) -> None:
    plain = PairCache(fill(data={"episodes": [0], "val_episodes": [1]}))
    assert plain.stores == {}
    assert PairCache(cache, leave_out={"prefix"}).stores.keys() == {"vision"}


def test_a_draw_it_does_not_hold_is_refused(cache: Path) -> None:
    with pytest.raises(
        ValueError, match=r"draw 6 .* holds 6 of each; .*objective.draw_pool=6\), .*reflow.pairs draws=7"
    ):
        PairCache(cache).endpoints(torch.tensor([0]), torch.tensor([[0, 6]]))


def test_an_observation_it_does_not_hold_is_refused(cache: Path) -> None:
    with pytest.raises(ValueError, match=r"samples \[36, 99\] are not in "):
        PairCache(cache).endpoints(torch.tensor([36, 0, 99]), torch.zeros(3, 1, dtype=torch.long))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda file: file.unlink(), "is missing"),
        (lambda file: file.write_bytes(file.read_bytes()[:500]), "has 500 bytes instead of [0-9]+"),
        (lambda file: file.write_bytes(bytes(file.stat().st_size)), "is damaged: its bytes"),
    ],
)
def test_a_damaged_shard_is_named_with_the_command_that_mends_it(own: Path, damage, what: str) -> None:
    damage(own / "draws-00000-00006" / "00002.safetensors")
    reader, draw = PairCache(own), torch.tensor([[0]])
    reader.endpoints(torch.tensor([0]), draw)
    with pytest.raises(
        FileNotFoundError,
        match=rf"draws-00000-00006/00002.safetensors {what}.*\n  python -m reflow.pairs name=test repair=true",
    ):
        reader.endpoints(torch.tensor([25]), draw)


def test_a_cache_that_is_not_complete_is_refused(own: Path) -> None:
    replace(Manifest.read(own), checksums={}).write(own)
    with pytest.raises(ValueError, match=r"is not complete yet: .*\n  python -m reflow.pairs name=test"):
        PairCache(own)


def test_what_is_complete_can_be_read_while_more_is_made(own: Path) -> None:
    there = Manifest.read(own)
    replace(there, layout=there.layout.extended(9, {})).write(own)
    assert PairCache(own).draws == 6


def test_a_folder_that_is_no_cache_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"pairs.path={tmp_path} holds no pair cache: manifest.json"):
        PairCache(tmp_path)
