"""A data worker that is killed, and a run folder that two processes want: an error in words, and no hang."""

import os
import random
import signal
import time
from pathlib import Path

import pytest

from tests.faults.conftest import KILLS, SMALL
from tests.faults.processes import start, timed
from tests.faults.same import differences, left_by

PATIENCE = 30


@pytest.fixture(scope="module")
def whole(inputs: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to; only read."""
    folder = tmp_path_factory.mktemp("whole")
    timed(start("reflow.train", [*inputs, *SMALL, f"run_dir={folder / 'run'}"], folder / "log"))
    return folder / "run"


def test_a_killed_data_worker_ends_the_run_in_words(inputs: list[str], whole: Path, tmp_path: Path) -> None:
    run, chance = tmp_path / "run", random.Random(4)
    command = [*inputs, *SMALL, f"run_dir={run}", "data.num_workers=2", "trainer.val_check_interval=200"]
    for number in range(max(1, KILLS // 2)):
        now = start("reflow.train", command, tmp_path / f"log_{number}")
        now.wait_for(run / "checkpoints" / "last.ckpt")
        while len(workers := now.workers()) < 2:
            time.sleep(0.01)
        os.kill(victim := chance.choice(workers), signal.SIGKILL)
        begin = time.monotonic()
        code = now.end()
        if code == 0:  # its work was done
            break
        assert time.monotonic() - begin < PATIENCE
        assert code == 2, now.said
        assert f"error: a data worker (process {victim}) was killed" in now.said
        assert "the same command goes on from" in now.said
    assert number, "the first one should have found it at work"
    timed(start("reflow.train", command, tmp_path / "log"))
    ours, theirs = left_by(run), left_by(whole)
    for logs in ("csv", "tensorboard", "metrics.json"):
        del ours[logs], theirs[logs]
    assert not [*differences(ours, theirs)]


def test_of_two_processes_one_gets_the_folder(inputs: list[str], whole: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    command = [*inputs, *SMALL, f"run_dir={run}", "data.num_workers=0"]
    both = [start("reflow.train", command, tmp_path / f"log_{number}") for number in range(2)]
    assert sorted(one.end() for one in both) == [0, 2]
    refused = next(one for one in both if one.process.exitcode == 2)
    assert f"run_dir={run} is in use by process " in refused.said
    assert not [*differences(left_by(run), left_by(whole))]
