"""A run that is killed, at whatever moment and however often, ends as if nothing had happened."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

from tests.faults.conftest import KILLS, PAIRS, SMALL
from tests.faults.processes import start, timed
from tests.faults.same import differences, left_by


def kill(command: Callable[[Path, int], list[str]], folder: Path, kills: int, seed: int) -> None:
    """Kills runs of a command until there were so many kills; every run ends as the one that was left alone.

    Args:
        command: of a run folder and a number of data workers, another one at each start.
        folder: where to the runs go.
        kills: so many.
        seed: of the moments.
    """
    longest = timed(start("reflow.train", command(folder / "whole", 0), folder / "whole.log"))
    expected, chance, killed, runs = left_by(folder / "whole"), random.Random(seed), 0, 0
    while killed < kills:
        run, log = folder / f"run_{runs}", folder / f"run_{runs}.log"
        now = start("reflow.train", command(run, chance.choice([0, 1, 2])), log)
        while killed < kills and now.kill_after(chance.uniform(0, longest)):
            killed += 1
            now = start("reflow.train", command(run, chance.choice([0, 1, 2])), log)
        assert now.end() == 0, now.said
        assert not [*differences(left_by(run), expected)], f"run {runs}, {killed} kills"
        runs += 1
    print(f"{killed} kills in {runs} runs of {longest:.0f} s")


def test_killed_at_random_moments_it_ends_with_the_same_bits(inputs: list[str], tmp_path: Path) -> None:
    def command(run: Path, workers: int) -> list[str]:
        return [*inputs, *SMALL, f"run_dir={run}", f"data.num_workers={workers}"]

    kill(command, tmp_path, KILLS, seed=0)


def test_from_a_pair_cache_it_does_so_too(inputs: list[str], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    timed(start("reflow.pairs", [*inputs, *PAIRS, f"run_dir={cache}"], tmp_path / "log"))

    def command(run: Path, workers: int) -> list[str]:
        return [*inputs, *SMALL, f"pairs.path={cache}", f"run_dir={run}", f"data.num_workers={workers}"]

    kill(command, tmp_path, max(1, KILLS // 4), seed=8)
