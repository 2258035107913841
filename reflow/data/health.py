"""Are the numbers of a data set numbers? Every chosen frame's state and action are read before training.

Also whether the tables hold the frames that the metadata promise. Left out: pictures, which are seen when they are
decoded, and videos (``reflow.data.videos``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.data.opened import OpenSource
from reflow.data.robot import joint_names
from reflow.data.tables import read_schema, read_table
from reflow.errors import UserError

_PLACE = ["episode_index", "frame_index", "index", "task_index"]


@dataclass(frozen=True)
class Bad:
    """Values of one column that are no numbers.

    Attributes:
        key: ``observation.state`` or ``action``.
        count: how many.
        frames: the frames they stand in, by their ``index``.
        episodes: likewise, the episodes.
        first: episode, frame and dimension of the first; None for the dimension where all are missing.
        value: what stands there.
    """

    key: str
    count: int
    frames: np.ndarray
    episodes: np.ndarray
    first: tuple[int, int, int | None]
    value: str


def check_values(source: OpenSource) -> None:
    """Refuses states and actions that are not finite, and tables with fewer frames than promised.

    Raises:
        UserError: names episode, frame and joint of the first one, how many there are, and the episodes to leave out.
    """
    found = [bad for file, episodes in _files(source) for bad in _look(source, file, episodes)]
    if not found:
        return
    first = min(found, key=lambda bad: bad.first[:2])
    episodes, frames = (
        np.unique(np.concatenate([getattr(bad, name) for bad in found])).tolist()
        for name in ("episodes", "frames")
    )
    raise UserError(
        f"{source.source}: {first.key} of episode {first.first[0]}, frame {first.first[1]}{_joint(source, first)} is "
        f"{first.value}; in all {_count(sum(bad.count for bad in found), 'such value')} in "
        f"{_count(len(frames), 'frame')} of {_count(len(episodes), 'episode')}. Mend the data, or "
        f"{without(source, episodes)}"
    )


def without(source: OpenSource, episodes: list[int]) -> str:
    """How to do without some episodes: the override to paste."""
    if len(set(source.chosen) - set(episodes)) < 2:
        return "take another data set: without those episodes fewer than two are left"
    where, asked = source.source.where, source.source
    keys = []
    for name, chosen in (("episodes", asked.episodes), ("val_episodes", asked.val_episodes)):
        if set(chosen or []) & set(episodes):
            keys.append((name, [number for number in chosen or [] if number not in episodes]))
    named = {number for chosen in (asked.episodes, asked.val_episodes) for number in chosen or []}
    if rest := sorted({*episodes, *(asked.exclude_episodes or [])} - named):
        keys.append(("exclude_episodes", rest))
    if where != "data":
        inside = ", ".join(f"{name}: {_list(numbers)}" for name, numbers in keys)
        return f"leave those episodes out ({inside} in {where})"
    return "leave those episodes out: " + " ".join(f"data.{name}={_list(numbers)}" for name, numbers in keys)


def _list(numbers: list[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _files(source: OpenSource) -> Iterator[tuple[Path, list[int]]]:
    """The tables of the chosen episodes, and whose they are."""
    of_file = sorted(zip(source.files_of(), source.chosen, strict=True))
    for file, pairs in groupby(of_file, key=lambda pair: pair[0]):
        yield file, [number for _, number in pairs]


def _look(source: OpenSource, file: Path, episodes: list[int]) -> Iterator[Bad]:
    meta, lengths = source.meta, source.column("length")
    pictures = {key for key in meta.camera_keys if key not in meta.video_keys}
    if lacking := sorted(pictures - set(read_schema(file).names)):
        raise UserError(
            f"{file} has no column {', '.join(lacking)}, which meta/info.json promises; copy it anew"
        )
    keys = [key for key in (OBS_STATE, ACTION) if key in meta.features]
    table = read_table(file, [*_PLACE, *keys, *(["timestamp"] if meta.video_keys else [])])
    for name in _PLACE:
        if missing := table.column(name).null_count:
            raise UserError(
                f"{file}: column {name} has {_count(missing, 'missing value')}; it says which frame is which: "
                "copy the data set anew from where it was made"
            )
    episode, frame, index, task = (np.asarray(table.column(name)) for name in _PLACE)
    chosen = np.isin(episode, episodes)
    numbers, rows = np.unique(episode[chosen], return_counts=True)
    there = dict(zip(numbers.tolist(), rows.tolist(), strict=True))
    for number in episodes:
        if there.get(number, 0) != (promised := int(lengths[number])):
            raise UserError(
                f"{source.source}: meta/episodes promises {promised} frames of episode {number}, {file} has "
                f"{there.get(number, 0)}; copy the whole folder anew, or {without(source, [number])}"
            )
    if len(np.unique(index[chosen])) < chosen.sum() or index[chosen].max(initial=0) >= meta.total_frames:
        raise UserError(
            f"{file}: column index does not number the frames from 0 to {meta.total_frames - 1}, each once; was the "
            "data set put together by hand? lerobot-edit-dataset does it right"
        )
    at = np.flatnonzero(chosen)
    starts = np.asarray(source.column("dataset_from_index"))
    if len(out := at[(index[at] != starts[episode[at]] + frame[at]) | (np.diff(index[at], prepend=-1) <= 0)]):
        raise UserError(
            f"{file}: row {out[0]} is frame {frame[out[0]]} of episode {episode[out[0]]} and has index "
            f"{index[out[0]]}; frames have to stand in order, as meta/episodes numbers them. Was the data set put "
            "together by hand? lerobot-edit-dataset does it right"
        )
    if meta.video_keys:
        _check_times(source, file, table, at)
    tasks = 0 if meta.tasks is None else len(meta.tasks)
    if len(lost := at[(task[at] < 0) | (task[at] >= tasks)]):
        raise UserError(
            f"{source.source}: task_index of episode {episode[lost[0]]}, frame {frame[lost[0]]} is {task[lost[0]]}, "
            f"meta/tasks.parquet has {_count(tasks, 'task')}; copy the whole folder anew, or "
            f"{without(source, np.unique(episode[lost]).tolist())}"
        )
    for key in keys:
        column = table.column(key).filter(pa.array(chosen)).combine_chunks()
        bad = _not_finite(column, int(meta.features[key]["shape"][0]), file, key)
        rows = np.flatnonzero(bad.any(1))
        if not len(rows):
            continue
        row = int(rows[np.lexsort((frame[at[rows]], episode[at[rows]]))[0]])
        cell, dim = column[row].as_py(), int(bad[row].argmax())
        value = cell[dim] if isinstance(cell, list) else cell
        first = (int(episode[at[row]]), int(frame[at[row]]), None if cell is None else dim)
        yield Bad(
            key,
            int(bad.sum()),
            index[at[rows]],
            episode[at[rows]],
            first,
            "missing" if value is None else str(value),
        )


def _check_times(source: OpenSource, file: Path, table: pa.Table, at: np.ndarray) -> None:
    """A frame of a video is found by its time, and LeRobot takes none that is not exactly there."""
    times = table.column("timestamp").to_numpy(zero_copy_only=False).astype(np.float64)[at]
    episode, frame = (np.asarray(table.column(name))[at] for name in ("episode_index", "frame_index"))
    off = ~(np.abs(times - frame / source.meta.fps) < 0.5 / source.meta.fps)
    if off.any():
        row = int(off.argmax())
        raise UserError(
            f"{source.source}: timestamp of episode {episode[row]}, frame {frame[row]} is {times[row]:g} seconds, at "
            f"{source.meta.fps} frames a second it should be {frame[row] / source.meta.fps:g}; its picture would be "
            f"another one, or none ({file}). Mend the data, or {without(source, np.unique(episode[off]).tolist())}"
        )


def _not_finite(array: pa.Array, width: int, file: Path, key: str) -> np.ndarray:
    """Which values of a column are no finite number, ``[n, width]``; in a missing row all of them."""
    null = np.asarray(array.is_null())
    bad = np.zeros((len(null), width), bool)
    bad[null] = True
    present = array.drop_null()
    if (
        pa.types.is_fixed_size_list(array.type)
        or pa.types.is_list(array.type)
        or pa.types.is_large_list(array.type)
    ):
        lengths = np.asarray(pc.list_value_length(present))
        if (wrong := lengths != width).any():
            raise UserError(
                f"{file}: {key} has {int(lengths[wrong][0])} values in a row, meta/info.json says {width}; copy the "
                "data set anew, or record it again"
            )
        present = present.flatten()
    if pa.types.is_floating(present.type) or pa.types.is_integer(
        present.type
    ):  # else of more dimensions than one
        bad[~null] = ~np.isfinite(present.to_numpy(zero_copy_only=False).reshape(-1, width))
    return bad


def _joint(source: OpenSource, bad: Bad) -> str:
    dim = bad.first[2]
    if dim is None:
        return ""
    names = joint_names(source.meta, bad.key, int(source.meta.features[bad.key]["shape"][0]))
    return f", {names[dim]} (dimension {dim})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
