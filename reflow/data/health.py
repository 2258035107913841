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

from reflow.data.folder import read_schema, read_table
from reflow.data.robot import joint_names
from reflow.data.sources import OpenSource
from reflow.errors import UserError

_PLACE = ["episode_index", "frame_index", "index"]


@dataclass(frozen=True)
class Bad:
    """One value that is no number.

    Attributes:
        episode, frame: where it stands.
        key: ``observation.state`` or ``action``.
        dim: its dimension; None for all of them.
        value: what stands there.
    """

    episode: int
    frame: int
    key: str
    dim: int | None
    value: str


def check_values(source: OpenSource) -> None:
    """Refuses states and actions that are not finite, and tables with fewer frames than promised.

    Raises:
        UserError: names episode, frame and joint of the first one, how many there are, and the episodes to leave out.
    """
    found: list[Bad] = []
    for file, episodes in _files(source):
        found += _look(source, file, episodes)
    if not found:
        return
    first = min(found, key=lambda bad: (bad.episode, bad.frame, bad.key, bad.dim or 0))
    episodes = sorted({bad.episode for bad in found})
    frames = len({(bad.episode, bad.frame) for bad in found})
    raise UserError(
        f"{source.source}: {first.key} of episode {first.episode}, frame {first.frame}{_joint(source, first)} is "
        f"{first.value}; in all {len(found)} such values in {_count(frames, 'frame')} of "
        f"{_count(len(episodes), 'episode')}. Mend the data, or leave them out: {without(source, episodes)}"
    )


def without(source: OpenSource, episodes: list[int]) -> str:
    """The override that leaves episodes out, to paste."""
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
        return f"{inside} in {where}"
    return " ".join(f"data.{name}={_list(numbers)}" for name, numbers in keys)


def _list(numbers: list[int]) -> str:
    return f"[{','.join(map(str, numbers))}]"


def _files(source: OpenSource) -> Iterator[tuple[Path, list[int]]]:
    """The tables of the chosen episodes, and whose they are."""
    meta, root = source.meta, source.files
    of_file = sorted((root / meta.get_data_file_path(number), number) for number in source.chosen)
    for file, pairs in groupby(of_file, key=lambda pair: pair[0]):
        yield file, [number for _, number in pairs]


def _look(source: OpenSource, file: Path, episodes: list[int]) -> Iterator[Bad]:
    meta = source.meta
    pictures = {key for key in meta.camera_keys if key not in meta.video_keys}
    if lacking := sorted(pictures - set(read_schema(file).names)):
        raise UserError(
            f"{file} has no column {', '.join(lacking)}, which meta/info.json promises; copy it anew"
        )
    keys = [key for key in (OBS_STATE, ACTION) if key in meta.features]
    table = read_table(file, [*_PLACE, *keys])
    episode, frame, index = (np.asarray(table.column(name)) for name in _PLACE)
    chosen = np.isin(episode, episodes)
    numbers, rows = np.unique(episode[chosen], return_counts=True)
    there = dict(zip(numbers.tolist(), rows.tolist(), strict=True))
    for number in episodes:
        if there.get(number, 0) != (promised := int(meta.episodes[number]["length"])):
            raise UserError(
                f"{source.source}: meta/episodes promises {promised} frames of episode {number}, {file} has "
                f"{there.get(number, 0)}; copy the whole folder anew, or leave it out: {without(source, [number])}"
            )
    if len(np.unique(index[chosen])) < chosen.sum() or index[chosen].max(initial=0) >= meta.total_frames:
        raise UserError(
            f"{file}: column index does not number the frames from 0 to {meta.total_frames - 1}, each once; was the "
            "data set put together by hand? lerobot-edit-dataset does it right"
        )
    for key in keys:
        width = int(meta.features[key]["shape"][0])
        for row, dim, value in _not_finite(table.column(key).filter(pa.array(chosen)), width, file, key):
            yield Bad(int(episode[chosen][row]), int(frame[chosen][row]), key, dim, value)


def _not_finite(
    column: pa.ChunkedArray, width: int, file: Path, key: str
) -> Iterator[tuple[int, int | None, str]]:
    """Rows and dimensions of a column that hold no finite number, and what they hold instead."""
    array = column.combine_chunks()
    null = np.asarray(array.is_null())
    yield from ((int(row), None, "missing") for row in np.flatnonzero(null))
    present = np.flatnonzero(~null)
    nested = pa.types.is_list(array.type) or pa.types.is_large_list(array.type)
    if nested or pa.types.is_fixed_size_list(array.type):
        lengths = np.asarray(pc.list_value_length(array.drop_null()))
        if (wrong := lengths != width).any():
            raise UserError(
                f"{file}: {key} in row {int(present[wrong][0])} has {int(lengths[wrong][0])} values, meta/info.json "
                f"says {width}; copy the data set anew, or record it again"
            )
        array = array.drop_null().flatten()
    else:
        array = array.drop_null()
    if not (pa.types.is_floating(array.type) or pa.types.is_integer(array.type)):
        return  # of more dimensions than one, which no policy here reads
    values = array.to_numpy(zero_copy_only=False).reshape(len(present), -1)
    for row, dim in np.argwhere(~np.isfinite(values)):
        scalar = array[int(row) * values.shape[1] + int(dim)].as_py()
        yield int(present[row]), int(dim), "missing" if scalar is None else str(scalar)


def _joint(source: OpenSource, bad: Bad) -> str:
    if bad.dim is None:
        return ""
    names = joint_names(source.meta, bad.key, int(source.meta.features[bad.key]["shape"][0]))
    return f", {names[bad.dim]} (dimension {bad.dim})"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
