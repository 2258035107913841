"""One shard: whole or not there, its size told beforehand, every damage seen."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from reflow.endpoints import shard_bytes, sweep, write_shard
from reflow.endpoints.layout import sidecar
from reflow.endpoints.shards import Seal, inspect, read_seal, write_whole


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "masks": torch.tensor([[True, False, True], [True, True, True]]),
        "features": torch.randn(2, 3, 5, generator=generator).bfloat16(),
        "a": torch.randn(2, 3, generator=generator),
    }


@pytest.fixture
def shard(tmp_path: Path, tensors: dict[str, torch.Tensor]) -> Path:
    write_shard(tmp_path / "vision" / "00003.safetensors", tensors)
    return tmp_path / "vision" / "00003.safetensors"


def test_a_shard_comes_back(shard: Path, tensors: dict[str, torch.Tensor]) -> None:
    found = load_file(shard)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[key], tensors[key]) for key in tensors)
    assert inspect(shard, 2) is None
    assert {file.name for file in shard.parent.iterdir()} == {"00003.safetensors", "00003.json"}


@pytest.mark.parametrize("size", [1, 2, 17])
def test_its_size_is_known_beforehand(tmp_path: Path, size: int) -> None:
    tensors = {
        "keys": torch.zeros(size, 7, 3, dtype=torch.float16),
        "endpoint": torch.zeros(size, 8, 5),
        "masks": torch.zeros(size, 7, dtype=torch.bool),
    }
    path = tmp_path / "shard.safetensors"
    write_shard(path, tensors)
    told = shard_bytes({key: tensor.to("meta") for key, tensor in tensors.items()})
    assert told == path.stat().st_size + sidecar(path).stat().st_size


def test_a_shard_without_its_sidecar_is_not_there(shard: Path) -> None:
    assert read_seal(shard) is not None
    sidecar(shard).unlink()
    assert read_seal(shard) is None


def test_every_damage_is_seen(shard: Path) -> None:
    whole, seal = shard.read_bytes(), read_seal(shard)
    assert inspect(shard, 3) == "a has shape (2, 3), 3 observations belong in it"
    assert "not the one in the manifest" in str(inspect(shard, 2, Seal("0" * 64, len(whole))))
    assert inspect(shard, 2, seal) is None

    shard.write_bytes(whole[:-1])
    assert inspect(shard, 2) == f"it has {len(whole) - 1} bytes instead of {len(whole)}"
    assert read_seal(shard) is None
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    assert inspect(shard, 2) == "its bytes do not have the checksum they were written with"
    sidecar(shard).write_text("{")
    assert "00003.json is missing or damaged" in str(inspect(shard, 2))
    shard.unlink()
    assert inspect(shard, 2) == "the file is missing"


def test_numbers_that_are_not_finite_are_seen(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    write_shard(path, {"endpoint": torch.tensor([[1.0], [torch.nan]])})
    assert inspect(path, 2) == "endpoint holds numbers that are not finite"


def test_what_is_no_safetensors_file_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "0.safetensors"
    path.write_bytes(b"nothing")
    digest = "f3ea9d8a0a3b8dd11e2d4d3ce9c6d1ea" * 2
    sidecar(path).write_text(json.dumps({"sha256": digest, "bytes": 7}))
    assert inspect(path, 1) == "its bytes do not have the checksum they were written with"


def test_only_what_dead_processes_left_is_swept(tmp_path: Path) -> None:
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True
    )
    host = os.uname().nodename
    gone, alive = (tmp_path / f".a.{host}-{pid}.partial" for pid in (dead.stdout.strip(), os.getpid()))
    elsewhere = tmp_path / f".a.another-{dead.stdout.strip()}.partial"
    for file in (gone, alive, elsewhere):
        file.write_bytes(b"half")
    write_whole(tmp_path / "whole.json", b"{}")
    sweep(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {alive.name, elsewhere.name, "whole.json"}
