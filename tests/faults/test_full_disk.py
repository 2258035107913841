"""No room: a clear error, all that was there intact, and the same command goes on when there is room."""

import math
import random
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import KILLS, PAIRS, SMALL
from tests.faults.processes import Command, start, timed
from tests.faults.same import differences, left_by
from tests.faults.test_killed_pairs import left_in

NO_ROOM = ("File too large", "cannot be written to")


def limits(largest: int, count: int) -> list[int]:
    """Bytes of a file that is one too large, small ones as often as large ones."""
    chance = random.Random(3)
    return [round(math.exp(chance.uniform(math.log(500), math.log(largest)))) for _ in range(count)]


def largest_in(folder: Path) -> int:
    """Bytes of the largest file."""
    return max(file.stat().st_size for file in folder.rglob("*"))


def refused(command: Command) -> bool:
    """Whether it ended for want of room, and said so."""
    code = command.end()
    assert code in (0, 2), command.said
    assert code == 0 or any(words in command.said for words in NO_ROOM), command.said
    return code == 2


def test_training_on_a_full_disk(inputs: list[str], tmp_path: Path) -> None:
    def command(run: Path) -> list[str]:
        return [*inputs, *SMALL, f"run_dir={run}", "data.num_workers=0"]

    timed(start("reflow.train", command(tmp_path / "whole"), tmp_path / "log"))
    expected, run = left_by(tmp_path / "whole"), tmp_path / "run"
    half = start("reflow.train", command(run), tmp_path / "log")
    half.wait_for(run / "checkpoints" / "previous.ckpt")
    half.kill_after(0.0)
    tries = limits(largest_in(tmp_path / "whole"), max(1, KILLS // 2))
    times = sum(
        refused(start("reflow.train", command(run), tmp_path / "log", largest=limit)) for limit in tries
    )
    assert times > len(tries) // 2
    timed(start("reflow.train", command(run), tmp_path / "log"))
    assert not [*differences(left_by(run), expected)]


def test_generating_pairs_on_a_full_disk(inputs: list[str], tmp_path: Path) -> None:
    whole, cache = tmp_path / "whole", tmp_path / "cache"
    timed(start("reflow.pairs", [*inputs, *PAIRS, f"run_dir={whole}"], tmp_path / "log"))
    command = [*inputs, *PAIRS, f"run_dir={cache}"]
    tries = limits(largest_in(whole), max(1, KILLS // 2))
    times = sum(refused(start("reflow.pairs", command, tmp_path / "log", largest=limit)) for limit in tries)
    assert times == len(tries)
    timed(start("reflow.pairs", command, tmp_path / "log"))
    assert left_in(cache) == left_in(whole)


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """``mounted(options)``: a file system of its own; only root may."""
    places: list[Path] = []

    def mount(options: str) -> Path:
        (place := tmp_path / f"mounted_{len(places)}").mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")
        places.append(place)
        return place

    yield mount
    for place in places:
        subprocess.run(["umount", place], check=True)


def test_a_small_disk_and_one_that_is_read_only(
    inputs: list[str], tmp_path: Path, mounted: Callable[[str], Path]
) -> None:
    command = [*inputs, *SMALL, "data.num_workers=0"]
    locked = start("reflow.train", [*command, f"run_dir={mounted('ro') / 'run'}"], tmp_path / "log")
    assert locked.end() == 2
    assert "nothing can be written there (Read-only file system); make room and rights" in locked.said
    small = mounted("size=1300k") / "run"  # for some checkpoints, but not for all
    full = start("reflow.train", [*command, f"run_dir={small}"], tmp_path / "log")
    assert full.end() == 2
    assert "(No space left on device)" in full.said
    timed(start("reflow.train", [*command, f"run_dir={tmp_path / 'whole'}"], tmp_path / "log"))
    subprocess.run(["mount", "-o", "remount,size=100m", small.parent], check=True)
    timed(start("reflow.train", [*command, f"run_dir={small}"], tmp_path / "log"))
    assert not [*differences(left_by(small), left_by(tmp_path / "whole"))]


@pytest.mark.parametrize("clock", [-1e7, 1e7])
def test_a_clock_that_jumps_changes_nothing(inputs: list[str], tmp_path: Path, clock: float) -> None:
    run = tmp_path / "run"
    command = [*inputs, *SMALL, f"run_dir={run}", "data.num_workers=0"]
    timed(start("reflow.train", [*command, f"run_dir={tmp_path / 'whole'}"], tmp_path / "log"))
    half = start("reflow.train", command, tmp_path / "log")
    half.wait_for(run / "checkpoints" / "previous.ckpt")
    half.kill_after(0.0)
    timed(start("reflow.train", command, tmp_path / "log", clock=clock))
    ours, theirs = left_by(run), left_by(tmp_path / "whole")
    assert not [*differences(ours | {"tensorboard": None}, theirs | {"tensorboard": None})]
