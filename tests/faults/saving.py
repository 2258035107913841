"""Saves checkpoints, one after another, until it is killed."""

import itertools
import sys
from pathlib import Path

import torch

from reflow.distill.checkpoints import AtomicCheckpointIO

WORDS = 250_000


def main() -> None:
    """``saving FOLDER FIRST``: of step FIRST and every one after it."""
    folder, first = Path(sys.argv[1]), int(sys.argv[2])
    for step in itertools.count(first):
        weights = torch.full((WORDS,), float(step))
        content = {"pytorch-lightning_version": "2", "global_step": step, "weights": weights}
        AtomicCheckpointIO().save_checkpoint(content, folder / "last.ckpt")
