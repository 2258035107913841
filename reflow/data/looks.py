"""More of the frames at which a deployed policy plans a chunk.

A policy that plays ``n_action_steps`` of each chunk plans one at frames 0, n, 2n, ...; in an episode those are a
few in a hundred, and at the first of them the policy chooses between the ways to act. Training, and measuring,
may use them and their neighbours more often than the rest.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch.utils.data import Dataset

from reflow.data.frames import Frames
from reflow.data.mixed import Mixed
from reflow.data.order import Visit
from reflow.errors import UserError


class Looks(Dataset[dict[str, Any]]):
    """Frames in which those near the start of a chunk come up several times an epoch, each time as another visit.

    Args:
        frames: the frames of some episodes.
        every: control steps between two chunks (``n_action_steps``).
        within: frames this close to the start of a chunk count as such.
        times: how often each of those comes up in an epoch; 1 changes nothing.
    """

    def __init__(self, frames: Frames | Mixed, every: int, within: int, times: int) -> None:
        if times < 1 or within < 0:
            raise UserError(
                f"data.look_times is {times}, data.look_within {within}; allowed: times 1 or more, within 0 or more"
            )
        self.frames, self.times = frames, times
        phase = frames.frame_index % every
        near = np.minimum(phase, every - phase) <= within
        self.rows = np.repeat(np.arange(len(frames)), np.where(near, times, 1))
        # Of each data set, how many rows.
        self.sizes = np.diff(np.searchsorted(self.rows, frames.starts)).tolist()
        self.occurrence = np.arange(len(self.rows)) - np.searchsorted(self.rows, self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, key: Visit | int) -> dict[str, Any]:
        row, visit = key if isinstance(key, tuple) else (key, 0)
        return self.frames[Visit(int(self.rows[row]), visit * self.times + int(self.occurrence[row]))]
