"""The manifest: comes back as written, is extended and never mixed, and refuses what it does not cover."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from reflow.endpoints import Manifest, OtherPairsError, settle
from reflow.endpoints.shards import Seal

from .test_identity import IDENTITY, MANIFEST


def test_it_comes_back(tmp_path: Path) -> None:
    manifest = replace(
        MANIFEST, about={"command": "do"}, checksums={"draws-00000-00002/00000.safetensors": Seal("0", 1)}
    )
    manifest.write(tmp_path)
    assert Manifest.read(tmp_path) == manifest
    assert [file.name for file in tmp_path.iterdir()] == ["manifest.json"]


def test_only_whole_kinds_of_content_are_complete() -> None:
    files = list(MANIFEST.layout.extended(2, {"vision": "float32"}).files)
    manifest = replace(
        MANIFEST,
        layout=MANIFEST.layout.extended(2, {"vision": "float32"}),
        checksums={file: Seal("0", 1) for file in files[:-1]},
    )
    assert manifest.complete == {"draws-00000-00002"}


def test_an_empty_folder_takes_what_is_asked_for(tmp_path: Path) -> None:
    assert settle(MANIFEST, tmp_path / "new") == MANIFEST
    assert not (tmp_path / "new").exists()


def test_more_is_added_to_what_is_there_in_its_own_way_of_working(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    asked = replace(
        MANIFEST,
        layout=replace(MANIFEST.layout, blocks=((0, 5),), batch_size=99, stores={"vision": "float16"}),
        about={"command": "more"},
    )
    settled = settle(asked, tmp_path)
    assert settled.layout.blocks == ((0, 2), (2, 5))
    assert settled.layout.stores == {"vision": "float16"}
    assert settled.layout.batch_size == MANIFEST.layout.batch_size
    assert settled.command == "more"


def test_another_s_folder_is_refused(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    with pytest.raises(OtherPairsError, match="seed: 0 in the cache, 5 asked for"):
        settle(replace(MANIFEST, identity=replace(IDENTITY, seed=5)), tmp_path)


def test_missing_observations_are_counted_by_episode() -> None:
    samples, episodes = torch.arange(20), torch.arange(20) // 4
    MANIFEST.check_covers(samples[:9], episodes[:9], Path("cache"))
    with pytest.raises(
        OtherPairsError, match=r"cache lacks 11 of the 20 observations .* of episodes \[2, 3, 4\]"
    ):
        MANIFEST.check_covers(samples, episodes, Path("cache"))


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 1, "identity": {}}', "{"])
def test_a_damaged_manifest_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(
        ValueError, match=r"manifest.json is damaged .* make the cache anew: nothing else says whose pairs"
    ):
        Manifest.read(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path) -> None:
    MANIFEST.write(tmp_path)
    file = tmp_path / "manifest.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"format": 2}))
    with pytest.raises(ValueError, match="has format 2, this version of reflow reads 1"):
        Manifest.read(tmp_path)


def test_a_folder_without_one_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=rf"verify {tmp_path} holds no pair cache"):
        Manifest.read(tmp_path, "verify ")
