"""The jumps that are a policy's own, in no runtime at all: ``python -m tests.runtimes.chunks`` (a minute).

Inside one chunk, and between two chunks of one observation: what a runtime makes by going from one to another
without a word. Observations are the demo's demonstrations: their first frames, where either arm may go for the cube,
and later ones, where that is settled.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch import Tensor

from reflow.demo import embedded
from reflow.policies import load_policy, load_processors
from tests.runtimes.stock import GRIPPERS

EPISODES, NOISES, LATER = 12, 32, (10, 25, 50, 75)
MEETING = 25
"""The action at which one chunk gives way to the other."""


def arm_chunks(
    folder: Path, num_steps: int, data: LeRobotDataset, rows: list[int]
) -> Iterator[Float[np.ndarray, "k h a"]]:
    """Chunks of one observation each, in rad, without grippers.

    Args:
        folder: of the policy.
        num_steps: integration steps.
        data: the demonstrations.
        rows: frames of them.
    """
    flow = load_policy(folder)
    before, after = load_processors(folder, flow)
    shape = (NOISES, flow.space.chunk_size, flow.space.max_action_dim)
    noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0))
    for row in rows:
        seen = {
            key: value for key, value in data[row].items() if key.startswith("observation") or key == "task"
        }
        batch = before(
            {key: value[None] if isinstance(value, Tensor) else [value] for key, value in seen.items()}
        )
        with torch.no_grad():
            chunks = flow.output(flow.walk(flow.encode(batch), noise, num_steps))[0]
        yield np.delete(after(chunks).numpy(), GRIPPERS, axis=-1)


def main() -> None:
    """Prints a line for each policy, number of steps and kind of frame."""
    data = LeRobotDataset(embedded.REPO_ID, root=embedded.TEACHER.with_name("pick"))
    starts = np.cumsum([0, *data.meta.episodes["length"]])[:-1]
    whole = [int(s) for s, n in zip(starts, data.meta.episodes["length"], strict=True) if n > max(LATER)]
    frames = {
        "first frames": [int(start) for start in starts[:EPISODES]],
        "later frames": [start + later for start in whole[: EPISODES // len(LATER)] for later in LATER],
    }
    student = embedded.TEACHER.with_name("student")
    for name, folder, steps in (("teacher", embedded.TEACHER, 10), ("student", student, 1)):
        for kind, rows in frames.items():
            inside, between = [], []
            for chunks in arm_chunks(folder, steps, data, rows):
                inside.append(np.abs(np.diff(chunks, axis=1)).max((1, 2)))
                between.append(np.abs(chunks[1:, MEETING] - chunks[:-1, MEETING - 1]).max(1))
            for what, jumps in (("inside a chunk", inside), (f"between two, at action {MEETING}", between)):
                all_of_them = np.concatenate(jumps)
                print(
                    f"{name}, {steps:2} step(s), {kind}: {what}: median {np.median(all_of_them):.2f}, "
                    f"largest {all_of_them.max():.2f} rad",
                    flush=True,
                )


if __name__ == "__main__":
    main()
