"""A run that is killed, at whatever moment and however often, ends as if nothing had happened."""

from __future__ import annotations

import random
from pathlib import Path

from tests.faults.conftest import KILLS, SMALL
from tests.faults.processes import start, timed
from tests.faults.same import differences, left_by


def test_killed_at_random_moments_it_ends_with_the_same_bits(inputs: list[str], tmp_path: Path) -> None:
    def command(run: Path, workers: int) -> list[str]:
        return [*inputs, *SMALL, f"run_dir={run}", f"data.num_workers={workers}"]

    whole = tmp_path / "whole"
    longest = timed(start("reflow.train", command(whole, 0), tmp_path / "whole.log"))
    expected, chance, killed, runs = left_by(whole), random.Random(0), 0, 0
    while killed < KILLS:
        run, log = tmp_path / f"run_{runs}", tmp_path / f"run_{runs}.log"
        while (now := start("reflow.train", command(run, chance.choice([0, 1, 2])), log)).kill_after(
            chance.uniform(0, longest)
        ):
            killed += 1
        assert now.end() == 0, now.said
        assert not [*differences(left_by(run), expected)], f"run {runs}, {killed} kills"
        runs += 1
    print(f"{killed} kills in {runs} runs of {longest:.0f} s")
