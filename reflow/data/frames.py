"""Frames of a LeRobotDataset as observations, decoded when asked for or once beforehand.

Distillation needs cameras, state and task of a frame; its actions only for training a teacher. Chunks of
actions are cut from the action column in memory, with LeRobot's own rule beyond the ends of an episode (repeat
its first or last action, mark it in ``action_is_pad``), which is much faster than LeRobot's row-wise query.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import av
import numpy as np
import torch
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.utils.constants import ACTION, OBS_STATE
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from reflow.data.augment import Augment
from reflow.data.order import Visit
from reflow.errors import UserError

SAMPLE, VISIT = "sample", "visit"
"""Batch keys: identity of the frame in its data set, and which visit to it this is."""
ENDPOINT = "endpoint"
"""Batch key: the teacher's endpoints of this visit's noises, ``[b, k, h, d]``; only where a pair cache is read."""

# What LeRobot, PIL, PyAV and torchcodec raise where a picture, or a frame of a video, does not decode.
_UNREADABLE = (OSError, SyntaxError, ValueError, IndexError, RuntimeError, AssertionError, av.FFmpegError)

Reading = Literal["all", "words", "identity"]
"""What is read of a frame: everything; state and task, no camera; nothing but which frame it is."""


class Frames(Dataset[dict[str, Any]]):
    """Observations by :class:`Visit` (or by plain row).

    Args:
        dataset: a LeRobotDataset, already limited to its episodes.
        chunk_size: length of the action chunks, or None to leave actions out.
        preload: decode every frame now and keep it in memory as 8-bit.
        reading: what of a frame is read; what is stored elsewhere need not be.
        cameras: the camera keys that are read, and what they are called in an item; None for all, as they are.
        offset: what its frame numbers begin behind, so that no other data set has them.
        observed: the frames that an observation is made of, relative to now (``observation_delta_indices``). Of
            more than one, state and cameras are stacked, ``[n_obs, ...]``; beyond an episode its first
            or last is repeated.
        first_action: the step that action chunks begin at, relative to now.
        augment: gives the frames of a visit another look; None leaves them as they are.

    Attributes:
        samples: identities of the frames, ``[n]``.
        frame_index: place of each in its episode.
        owners: number of its episode.
        starts: rows at which data sets begin and end: here 0 and ``n``.
    """

    def __init__(
        self,
        dataset: LeRobotDataset,
        chunk_size: int | None = None,
        preload: bool = False,
        reading: Reading = "all",
        cameras: Mapping[str, str] | None = None,
        offset: int = 0,
        observed: Sequence[int] = (0,),
        first_action: int = 0,
        augment: Augment | None = None,
    ) -> None:
        self.dataset, self.augment = dataset, augment
        self.reading: Reading = reading
        self.cameras = {key: key for key in dataset.meta.camera_keys} if cameras is None else dict(cameras)
        table = dataset.hf_dataset.data
        self.frame_index = table.column("frame_index").to_numpy()
        self.owners = table.column("episode_index").to_numpy()
        self.samples = torch.from_numpy(table.column("index").to_numpy().copy()) + offset
        self.starts = np.array([0, len(self.samples)])
        rows = np.arange(len(self.owners))
        first = np.searchsorted(self.owners, self.owners, side="left")
        last = np.searchsorted(self.owners, self.owners, side="right") - 1
        self.seen_rows: np.ndarray | None = None
        if list(observed) != [0]:
            self.seen_rows = np.clip(rows[:, None] + np.array(observed), first[:, None], last[:, None])
        self.actions: Tensor | None = None
        if chunk_size is not None:
            self.actions = torch.from_numpy(np.stack(table.column(ACTION).to_numpy()).astype(np.float32))
            wanted = rows[:, None] + np.arange(first_action, first_action + chunk_size)
            inside = np.clip(wanted, first[:, None], last[:, None])
            self.chunk_rows = torch.from_numpy(inside)
            self.chunk_is_pad = torch.from_numpy(wanted != inside)
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
        item = self._one(row) if self.seen_rows is None else self._several(row, self.seen_rows[row].tolist())
        if self.augment is not None:
            item = self.augment(item, int(self.samples[row]), visit)
        item[SAMPLE], item[VISIT] = self.samples[row], torch.tensor(visit)
        if self.actions is not None:
            item[ACTION] = self.actions[self.chunk_rows[row]]
            item["action_is_pad"] = self.chunk_is_pad[row]
        return item

    def _several(self, row: int, rows: Sequence[int]) -> dict[str, Any]:
        """What is seen of these frames, one behind the other; the task is that of the present one."""
        ones = {one: self._one(one) for one in {row, *rows}}
        return {
            key: torch.stack([ones[one][key] for one in rows]) if isinstance(value, Tensor) else value
            for key, value in ones[row].items()
        }

    def _one(self, row: int) -> dict[str, Any]:
        return self._read(row) if self._decoded is None else self._grow(self._decoded[row])

    def _read(self, row: int) -> dict[str, Any]:
        if self.reading == "all":
            return self._decode(row)
        if self.reading == "identity":
            return {}
        task = self.dataset.meta.tasks.iloc[int(self._task_numbers[row])].name
        return {OBS_STATE: self._states[row], "task": task}

    def _decode(self, row: int) -> dict[str, Any]:
        try:
            item = self.dataset[row]
        except _UNREADABLE as error:
            raise UserError(f"{self._place(row)} cannot be read: {self._what(row, error)}") from error
        for key in self.cameras:
            shape = list(item[key].shape) if isinstance(item[key], Tensor) else []
            if shape[:-2] != [3]:
                raise UserError(
                    f"{self._place(row)}: {key} has shape {shape or 'none (it is missing)'}; pictures of 3 colours "
                    f"are expected, [3, height, width]: record it so, or leave the episode out: "
                    f"data.exclude_episodes=[{self.owners[row]}]"
                )
        return {name: item[key] for key, name in self._kept.items()}

    @property
    def _kept(self) -> dict[str, str]:
        others = [key for key in (OBS_STATE, "task") if key == "task" or key in self.dataset.meta.features]
        return self.cameras | {key: key for key in others}

    def _place(self, row: int) -> str:
        meta = self.dataset.meta
        return f"data set {meta.repo_id} ({meta.root}): episode {self.owners[row]}, frame {self.frame_index[row]}"

    def _what(self, row: int, error: BaseException) -> str:
        """Which camera it is that does not decode, and where to go from there."""
        pictures = [key for key in self.dataset.meta.camera_keys if key not in self.dataset.meta.video_keys]
        broken = [key for key in pictures if not _is_picture(self.dataset.hf_dataset.data.column(key)[row])]
        cameras = ", ".join(broken or self.dataset.meta.video_keys or pictures)
        why = " ".join(str(error).split())[:200]
        return (
            f"{cameras} does not decode ({type(error).__name__}: {why}); copy its file anew, or leave the episode "
            f"out: data.exclude_episodes=[{self.owners[row]}]"
        )

    def _shrink(self, item: dict[str, Any]) -> dict[str, Any]:
        """8-bit cameras where nothing is lost by it."""
        small = dict(item)
        for key in self.cameras.values():
            eight_bit = (item[key] * 255.0).round().to(torch.uint8)
            if torch.equal(eight_bit.float() / 255.0, item[key]):
                small[key] = eight_bit
        return small

    def _grow(self, item: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value.float() / 255.0 if isinstance(value, Tensor) and value.dtype == torch.uint8 else value
            for key, value in item.items()
        }


def _is_picture(cell: Any) -> bool:
    picture = cell.as_py() or {}
    try:
        with Image.open(io.BytesIO(picture.get("bytes") or b"")) as opened:
            opened.load()
    except (OSError, SyntaxError, ValueError):
        return False
    return True


class Portions(Dataset[list[dict[str, Any]]]):
    """Frames in portions that somebody else chose, the first visit to each.

    Args:
        frames: of which.
        rows: of each portion, ``[b]``.
    """

    def __init__(self, frames: Dataset[dict[str, Any]], rows: Sequence[Tensor]) -> None:
        self.frames, self.rows = frames, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> list[dict[str, Any]]:
        return [self.frames[row] for row in self.rows[number].tolist()]
