"""``python -m reflow.pairs`` as a command: several processes, a killed one, errors and exit codes."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from reflow.data import load_metadata
from tests.builders import make_dataset, make_teacher_folder, repo_id
from tests.endpoints.conftest import content

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    scratch = tmp_path_factory.mktemp("command")
    root = make_dataset(scratch / "demos", frames=30)
    statistics = load_metadata(repo_id(root), root).stats
    teacher = make_teacher_folder(scratch / "pretrained_model", statistics=statistics, num_steps=4)
    data = [f"data.repo_id={repo_id(root)}", f"data.root={root}", "data.batch_size=4"]
    layout = ["draws=4", "store=vision", "samples_per_shard=4", "trainer.accelerator=cpu"]
    return ["+fix=full32", f"teacher.path={teacher}", *data, *layout]


def start(*arguments: str) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "reflow.pairs", *arguments]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def run(*arguments: str, code: int = 0) -> tuple[str, str]:
    process = start(*arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    return out, err


@pytest.fixture(scope="module")
def one(settings: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Made by one process, in one go; only read."""
    path = tmp_path_factory.mktemp("pairs") / "one"
    out, _ = run(*settings, f"run_dir={path}")
    assert "90 observations, 4 draws of each, vision in float32" in out
    assert "23 shards to make: " in out
    assert f"{path} is complete" in out
    (learn,) = [line for line in out.splitlines() if "reflow.train" in line]
    words = shlex.split(learn)
    assert {"+fix=full32", f"pairs.path={path}", "objective.draw_pool=4"} <= set(words)
    assert not [
        word for word in words if word.startswith(("run_dir=", "store=", "draws=", "data.batch_size="))
    ]
    return path


def without_command(folder: Path) -> dict[str, bytes]:
    """The folder's files, but for the command (which names the folder) in the manifest."""
    files = content(folder)
    manifest = json.loads(files["manifest.json"])
    manifest["about"].pop("command")
    return files | {"manifest.json": json.dumps(manifest).encode()}


def test_two_parts_at_once_leave_the_same_bytes(settings: list[str], one: Path, tmp_path: Path) -> None:
    path = tmp_path / "two"
    processes = [start(*settings, f"run_dir={path}", f"part={number}/2") for number in (1, 2)]
    for process in processes:
        _, err = process.communicate(timeout=300)
        assert process.returncode == 0, err
    assert without_command(path) == without_command(one)


def test_two_ranks_leave_the_same_bytes(settings: list[str], one: Path, tmp_path: Path) -> None:
    path = tmp_path / "ranks"
    out, _ = run(*settings, f"run_dir={path}", "trainer.devices=2", "+trainer.strategy=ddp")
    assert f"{path} is complete" in out
    assert without_command(path) == without_command(one)


@pytest.mark.parametrize(("how", "ranks"), [(signal.SIGKILL, 1), (signal.SIGTERM, 1), (signal.SIGTERM, 2)])
def test_a_killed_fill_goes_on(
    settings: list[str], one: Path, tmp_path: Path, how: signal.Signals, ranks: int
) -> None:
    path = tmp_path / "killed"
    process = start(*settings, f"run_dir={path}", f"trainer.devices={ranks}")
    while len(list(path.glob("vision/*.json"))) < 3:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.01)
    process.send_signal(how)
    _, errors = process.communicate()
    assert process.returncode == (143 if how is signal.SIGTERM else -how)
    assert errors.count("terminated; the same command goes on, ") == (how is signal.SIGTERM)
    assert "bug" not in errors
    made = {file: file.stat().st_mtime_ns for file in path.glob("vision/*.json")}
    assert len(made) < 23
    (path / "vision" / f".00022.safetensors.{os.uname().nodename}-{process.pid}.partial").write_bytes(b"half")
    run(*settings, f"run_dir={path}")
    assert without_command(path) == without_command(one)
    assert all(file.stat().st_mtime_ns == then for file, then in made.items())


def test_damage_is_found_and_mended(settings: list[str], one: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(one, tmp_path / "own"))
    shard = path / "vision" / "00002.safetensors"
    shard.write_bytes(bytes([*shard.read_bytes()[:-1], 77]))
    out, _ = run("verify", str(path), code=1)
    assert f"{shard}: its bytes do not have the checksum they were written with" in out
    assert "1 of 46 shards are missing or damaged" in out
    out, _ = run(*settings, f"run_dir={path}", "repair=true")
    assert "damaged, to be made anew: vision/00002.safetensors: its bytes" in out
    assert content(path) == content(one)
    out, _ = run("verify", str(path))
    assert "all 46 shards are as they were written" in out


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["draws=0"], "draws=0; allowed: 1 or more"),
        (["store=images"], "store=images; allowed: vision, prefix, or null"),
        (["store_precision=int8"], "store_precision=int8; allowed: float32, bfloat16, float16"),
        (["part=9/8"], "part=9/8; allowed: NUMBER/OF"),
        (["+fix=auto"], "Multiple values for fix"),
        (["padding.noise=auto"], "padding is auto: a cache has to be of one rule"),
        (["path=here"], "path=... is now run_dir"),
        (["padding.noise=some"], "padding.noise=some; allowed: real or full"),
        (["velocity=fast"], "velocity=fast; allowed for a policy of type smolvla: stock, shared, compiled"),
        (["+objective.draws=3"], "configuration key objective"),
        (["draws=1000000000000"], "free; put it on another disk (run_dir=...), store less"),
    ],
)
def test_bad_input_is_refused_and_leaves_nothing(
    settings: list[str], tmp_path: Path, overrides: list[str], message: str
) -> None:
    _, err = run(*settings, f"run_dir={tmp_path / 'new'}", *overrides, code=2)
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "new").exists()


def test_another_seed_is_another_cache(settings: list[str], one: Path) -> None:
    before = content(one)
    _, err = run(*settings, f"run_dir={one}", "seed=1", code=2)
    assert f"error: {one} holds other pairs than those asked for:\n  seed: 0 in the cache, 1 asked for" in err
    assert content(one) == before


def test_a_finished_cache_is_said_to_be_complete(settings: list[str], one: Path) -> None:
    before = content(one)
    out, _ = run(*settings, f"run_dir={one}")
    assert "to make" not in out
    assert "is complete" in out
    assert content(one) == before
