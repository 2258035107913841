"""Killed while it saves, a run has a checkpoint that is whole: the last one, or the one before."""

import random
from pathlib import Path

import torch

from reflow.distill.checkpoints import step_of, whole_checkpoint
from tests.faults.conftest import KILLS
from tests.faults.processes import start
from tests.faults.saving import WORDS


def test_there_is_always_a_whole_checkpoint(tmp_path: Path) -> None:
    chance, step = random.Random(1), 0
    for _ in range(KILLS * 5 // 2):
        saving = start(
            "tests.faults.saving", [str(tmp_path / "checkpoints"), str(step + 1)], tmp_path / "log"
        )
        saving.wait_for(tmp_path / "checkpoints" / "last.ckpt")
        assert saving.kill_after(chance.uniform(0.0, 0.2)), saving.said
        path = whole_checkpoint(tmp_path / "checkpoints")
        assert path is not None
        assert step_of(path) >= step
        step = step_of(path)
        assert torch.equal(torch.load(path)["weights"], torch.full((WORDS,), float(step)))
    print(f"{KILLS * 5 // 2} kills, {step} checkpoints")
