"""More of the frames at which a deployed policy looks.

A policy that plays ``n_action_steps`` of each chunk looks at frames 0, n, 2n, ...; in an episode those are a
few in a hundred, and at the first of them the choice between the ways on is made. Training meets them, and
their neighbours, more often.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from reflow.data import Frames, Visit


class MoreLooks(Dataset[dict[str, Any]]):
    """Frames in which those near a look come up several times an epoch.

    Args:
        frames: the training frames.
        every: control steps between two looks (``n_action_steps``).
        within: frames this close to a look count as one.
        times: how often each of those comes up in an epoch; 1 changes nothing.
    """

    def __init__(self, frames: Frames, every: int, within: int, times: int) -> None:
        if times < 1:
            raise ValueError(f"looks.times is {times}; allowed: 1 or more")
        self.frames, self.times = frames, times
        phase = np.array(frames.dataset.hf_dataset.data.column("frame_index").to_numpy()) % every
        near = np.minimum(phase, every - phase) <= within
        self.rows = np.repeat(np.arange(len(frames)), np.where(near, times, 1))
        first = np.searchsorted(self.rows, self.rows)
        self.occurrence = np.arange(len(self.rows)) - first

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Visit) -> dict[str, Any]:
        row, visit = key
        return self.frames[Visit(int(self.rows[row]), visit * self.times + int(self.occurrence[row]))]
