"""Frames of a LeRobotDataset as observations, decoded when asked for or once beforehand.

Distillation needs cameras, state and task of a frame; its actions only for training a teacher. Chunks of
actions are cut from the action column in memory, with LeRobot's own rule at the end of an episode (repeat the
last action, mark it in ``action_is_pad``), which is much faster than LeRobot's row-wise query.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor
from torch.utils.data import Dataset

from reflow.data.order import Visit

SAMPLE, VISIT = "sample", "visit"
"""Batch keys: identity of the frame in its data set, and which visit to it this is."""
ENDPOINT = "endpoint"
"""Batch key: the teacher's endpoints of this visit's noises, ``[b, k, h, d]``; only where a pair cache is read."""

Reading = Literal["all", "words", "identity"]
"""What is read of a frame: everything; state and task, no camera; nothing but which frame it is."""


class Frames(Dataset[dict[str, Any]]):
    """Observations by :class:`Visit` (or by plain row).

    Args:
        dataset: a LeRobotDataset, already limited to its episodes.
        chunk_size: length of the action chunks, or None to leave actions out.
        preload: decode every frame now and keep it in memory as 8-bit.
        reading: what of a frame is read; what is stored elsewhere need not be.
    """

    def __init__(
        self,
        dataset: LeRobotDataset,
        chunk_size: int | None = None,
        preload: bool = False,
        reading: Reading = "all",
    ) -> None:
        self.dataset = dataset
        self.reading: Reading = reading
        self.cameras: list[str] = list(dataset.meta.camera_keys)
        table = dataset.hf_dataset.data
        self.frame_index = table.column("frame_index").to_numpy()
        self.samples = torch.from_numpy(table.column("index").to_numpy().copy())
        self.actions: Tensor | None = None
        if chunk_size is not None:
            self.actions = torch.from_numpy(np.stack(table.column(ACTION).to_numpy()).astype(np.float32))
            episodes = table.column("episode_index").to_numpy()
            rows = np.arange(len(episodes))
            last = np.searchsorted(episodes, episodes, side="right") - 1
            wanted = rows[:, None] + np.arange(chunk_size)
            self.chunk_rows = torch.from_numpy(np.minimum(wanted, last[:, None]))
            self.chunk_is_pad = torch.from_numpy(wanted > last[:, None])
        if reading == "words":
            self._states = torch.from_numpy(np.stack(table.column(OBS_STATE).to_numpy()))
            self._task_numbers = table.column("task_index").to_numpy()
        self._decoded: dict[int, dict[str, Any]] | None = None
        if preload and reading == "all":
            self._decoded = {row: self._shrink(self._decode(row)) for row in range(len(self))}

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, key: Visit | int) -> dict[str, Any]:
        row, visit = key if isinstance(key, tuple) else (key, 0)
        item = self._read(row) if self._decoded is None else self._grow(self._decoded[row])
        item[SAMPLE], item[VISIT] = self.samples[row], torch.tensor(visit)
        if self.actions is not None:
            item[ACTION] = self.actions[self.chunk_rows[row]]
            item["action_is_pad"] = self.chunk_is_pad[row]
        return item

    def _read(self, row: int) -> dict[str, Any]:
        if self.reading == "all":
            return self._decode(row)
        if self.reading == "identity":
            return {}
        task = self.dataset.meta.tasks.iloc[int(self._task_numbers[row])].name
        return {OBS_STATE: self._states[row], "task": task}

    def _decode(self, row: int) -> dict[str, Any]:
        item = self.dataset[row]
        return {key: item[key] for key in (*self.cameras, OBS_STATE, "task")}

    def _shrink(self, item: dict[str, Any]) -> dict[str, Any]:
        """8-bit cameras where nothing is lost by it."""
        small = dict(item)
        for key in self.cameras:
            eight_bit = (item[key] * 255.0).round().to(torch.uint8)
            if torch.equal(eight_bit.float() / 255.0, item[key]):
                small[key] = eight_bit
        return small

    def _grow(self, item: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value.float() / 255.0 if isinstance(value, Tensor) and value.dtype == torch.uint8 else value
            for key, value in item.items()
        }


class Portions(Dataset[list[dict[str, Any]]]):
    """Frames in portions that somebody else chose, the first visit to each.

    Args:
        frames: of which.
        rows: of each portion, ``[b]``.
    """

    def __init__(self, frames: Frames, rows: Sequence[Tensor]) -> None:
        self.frames, self.rows = frames, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> list[dict[str, Any]]:
        return [self.frames[row] for row in self.rows[number].tolist()]
