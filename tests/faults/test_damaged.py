"""One bit flipped, or a file cut short: found, and named, wherever it is."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from reflow.distill.checkpoints import DamagedCheckpointError, whole_checkpoint
from reflow.endpoints import Manifest, PairCache
from reflow.endpoints.verify import verify
from reflow.errors import UserError
from reflow.policies import find_folder
from tests.faults.conftest import KILLS, PAIRS, SMALL
from tests.faults.processes import start, timed
from tests.faults.same import differences

Damage = Callable[[Path, random.Random], None]


def flip(path: Path, chance: random.Random) -> None:
    """One bit of a file."""
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(path: Path, chance: random.Random) -> None:
    """A file cut short."""
    path.write_bytes(path.read_bytes()[: chance.randrange(path.stat().st_size)])


DAMAGE = pytest.mark.parametrize("damage", [flip, cut])


@pytest.fixture(scope="module")
def made(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run and a cache; only read."""
    folder = tmp_path_factory.mktemp("made")
    timed(start("reflow.train", [*inputs, *SMALL, f"run_dir={folder / 'run'}"], folder / "log"))
    timed(start("reflow.pairs", [*inputs, *PAIRS, f"run_dir={folder / 'cache'}"], folder / "log"))
    return folder


@DAMAGE
def test_shards(made: Path, tmp_path: Path, damage: Damage) -> None:
    chance, cache = random.Random(5), Path(shutil.copytree(made / "cache", tmp_path / "cache"))
    shards = sorted(file.relative_to(cache) for file in cache.rglob("*.safetensors"))
    manifest = Manifest.read(cache)
    for _ in range(KILLS * 5 // 2):
        shard = chance.choice(shards)
        damage(cache / shard, chance)
        assert [problem.file for problem in verify(cache, manifest)] == [str(shard)]
        pairs = PairCache(cache)
        with pytest.raises(UserError, match=rf"{shard.name} (has|is|cannot)"):
            read_all(pairs)
        shutil.copy(made / "cache" / shard, cache / shard)
    read_all(PairCache(cache))


def read_all(pairs: PairCache) -> None:
    """As training does, every pair and all that is stored."""
    samples = pairs.layout.samples.numbers()
    pairs.endpoints(samples, torch.arange(pairs.draws).expand(len(samples), -1))
    for name in pairs.stores:
        pairs.stored(name, samples)


@DAMAGE
def test_checkpoints(made: Path, tmp_path: Path, damage: Damage) -> None:
    chance, folder = random.Random(6), tmp_path / "checkpoints"
    intact, harmless = torch.load(made / "run" / "checkpoints" / "last.ckpt", weights_only=False), 0
    for _ in range(max(1, KILLS // 2)):
        shutil.copytree(made / "run" / "checkpoints", folder)
        (folder / "previous.ckpt").unlink()
        damage(folder / "last.ckpt", chance)
        if (told := refused(folder)) is None:  # in the zeros between its tensors: nothing is read there
            harmless += 1
            assert not [*differences(torch.load(folder / "last.ckpt", weights_only=False), intact)]
        else:
            assert str(folder / "last.ckpt") in told
        shutil.rmtree(folder)
    print(f"{harmless} of {max(1, KILLS // 2)} hit nothing that is read")
    assert damage is flip or not harmless


def refused(folder: Path) -> str | None:
    """In which words, if it is."""
    try:
        whole_checkpoint(folder)
    except DamagedCheckpointError as error:
        return str(error)
    return None


@DAMAGE
def test_students(made: Path, tmp_path: Path, damage: Damage, capsys: pytest.CaptureFixture[str]) -> None:
    chance, student = random.Random(7), tmp_path / "student"
    files = [file.name for file in (made / "run" / "pretrained_model").iterdir() if file.is_file()]
    for _ in range(max(1, KILLS // 2)):
        shutil.copytree(made / "run" / "pretrained_model", student)
        name = chance.choice(files)
        damage(student / name, chance)
        try:
            find_folder(student)
            said = capsys.readouterr().err
        except UserError as error:
            said = str(error)
        assert str(student / name) in said or (name == "SHA256SUMS" and str(student) in said)
        shutil.rmtree(student)
