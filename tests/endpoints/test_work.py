"""Sharing out what is missing, and looking a cache over."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from reflow.endpoints import (
    MANIFEST,
    Manifest,
    Part,
    drop_damaged,
    missing_work,
    seal,
    settle,
    verify,
    verify_command,
    write_shard,
)

DRAWS = "draws-00000-00006"


@pytest.fixture
def own(cache: Path, tmp_path: Path) -> Path:
    """A cache to break."""
    return Path(shutil.copytree(cache, tmp_path / "own"))


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("text", ["0/8", "9/8", "2", "1/0", "a/b", "2/8/3", "-1/2"])
def test_a_part_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(
        ValueError, match=rf"part={text}; allowed: NUMBER/OF, as 1/8 to 8/8, or null; .*SLURM"
    ):
        Part.parse(text)


def test_a_part_is_read() -> None:
    assert Part.parse("2/8") == Part(2, 8)
    assert Part.parse(None) == Part(1, 1)


def test_parts_are_disjoint_and_together_everything(tmp_path: Path, cache: Path) -> None:
    manifest = Manifest.read(cache)
    parts = [[work.shard for work in missing_work(tmp_path, manifest, Part(i, 3))] for i in (1, 2, 3)]
    assert (
        sorted(shard for part in parts for shard in part)
        == list(range(manifest.layout.num_shards))
        == [0, 1, 2, 3]
    )
    assert missing_work(cache, manifest, Part()) == []


def test_only_what_is_missing_of_a_shard_is_work(own: Path) -> None:
    (own / "vision" / "00002.safetensors").unlink()
    (work,) = missing_work(own, Manifest.read(own), Part())
    assert (work.shard, work.folders) == (2, ("vision",))


def test_a_sound_cache_is_sound(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(verify(cache, Manifest.read(cache))) == []
    assert verify_command([str(cache)]) == 0
    assert "36 observations, 6 draws of each, prefix in float32, vision in float32" in capsys.readouterr().out


def test_every_damage_is_listed_and_made_work(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flip(own / DRAWS / "00000.safetensors")
    (own / DRAWS / "00001.safetensors").unlink()
    half = own / "vision" / "00002.safetensors"
    half.write_bytes(half.read_bytes()[: half.stat().st_size // 2])
    other = own / "prefix" / "00003.safetensors"
    write_shard(other, {key: value * 0 for key, value in load_file(other).items()})
    expected = {
        f"{DRAWS}/00000.safetensors": "its bytes do not have the checksum",
        f"{DRAWS}/00001.safetensors": "the file is missing",
        "vision/00002.safetensors": "bytes instead of",
        "prefix/00003.safetensors": "is not the one in the manifest",
    }
    problems = {problem.file: problem.what for problem in verify(own, Manifest.read(own))}
    assert problems.keys() == expected.keys()
    assert all(expected[file] in problems[file] for file in expected)
    assert verify_command([str(own)]) == 1
    out = capsys.readouterr().out
    assert all(str(own / file) in out for file in expected)
    assert (
        "4 of 12 shards are missing or damaged; make them with\n  python -m reflow.pairs name=test repair=true"
        in out
    )

    dropped = list(drop_damaged(own, Manifest.read(own), Part()))
    assert {line.partition(":")[0] for line in dropped} == expected.keys()
    work = missing_work(own, Manifest.read(own), Part())
    assert {
        f"{name}/{entry.shard:05d}.safetensors" for entry in work for name in entry.folders
    } == expected.keys()


@pytest.mark.parametrize(
    ("name", "message"),
    [(DRAWS, r"endpoint \(6, 8, 32\) belongs in it"), ("vision", "torch.float32 belongs in it")],
)
def test_shards_of_another_shape_are_seen(own: Path, name: str, message: str) -> None:
    file = own / name / "00000.safetensors"
    if name == DRAWS:
        write_shard(file, {"endpoint": load_file(file)["endpoint"][:, :5].contiguous()})
    else:
        write_shard(file, {key: value.bfloat16() for key, value in load_file(file).items()})
    unsealed = replace(Manifest.read(own), checksums={})
    (problem,) = verify(own, unsealed)
    assert re.search(message, problem.what)


@pytest.mark.parametrize("arguments", [[], ["a", "b"], ["--repair"]])
def test_verify_takes_one_folder(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_command(arguments) == 2
    assert "verify takes one folder" in capsys.readouterr().err


def test_verify_cannot_look_over_what_is_no_cache(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert verify_command([str(tmp_path)]) == 2
    assert f"error: verify {tmp_path} holds no pair cache" in capsys.readouterr().err


def test_shards_without_a_manifest_are_nobody_s(own: Path) -> None:
    asked = Manifest.read(own)
    (own / MANIFEST).unlink()
    with pytest.raises(
        FileNotFoundError, match=rf"run_dir={own} holds shards but no manifest\.json.*copy it from"
    ):
        settle(asked, own)
    for folder in asked.layout.folders:
        shutil.rmtree(own / folder)
    assert settle(asked, own) == asked, "an empty folder may become one"


def test_two_that_end_at_once_leave_a_complete_manifest(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One has looked before the other's last shard was there, and writes after the other has written."""
    whole, sealed = Manifest.read(own), Manifest.sealed
    kind = whole.layout.folders[0]
    replace(whole, checksums={}).write(own)
    early = {name: there for name, there in whole.checksums.items() if not name.startswith(f"{kind}/")}
    looks: list[Manifest] = [replace(whole, checksums=early)]

    def look(self: Manifest, folder: Path) -> Manifest:
        if not looks:
            return sealed(self, folder)
        whole.write(folder)
        return looks.pop()

    monkeypatch.setattr(Manifest, "sealed", look)
    assert seal(own) == whole
    assert Manifest.read(own) == whole
