"""What stands in a data set's metadata: features, episodes, tasks, statistics. Each is refused by file and key.

LeRobot finds a frame by the numbers in ``meta/episodes``, each row of it being the episode of that number. A table
put together otherwise gives other frames, in silence.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow.parquet as pq
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.data.tables import read_schema, read_table
from reflow.errors import UserError

_PLACE = ("timestamp", "frame_index", "episode_index", "index", "task_index")
_PUT_IN = ("chunk_index", "file_index", "video_key")
_ANEW = "copy the data set anew from where it was made"


def check_features(info: Mapping[str, Any], file: Path) -> None:
    """Refuses features without a type or a shape, and paths that name no file.

    Raises:
        UserError: names the key in ``file``.
    """
    features = info["features"]
    if not isinstance(features, dict) or not all(isinstance(feature, dict) for feature in features.values()):
        raise UserError(f"{file}: features is no object of features; {_ANEW}")
    for key, feature in features.items():
        shape = feature.get("shape")
        if not isinstance(feature.get("dtype"), str):
            raise UserError(
                f"{file}: features.{key}.dtype is {feature.get('dtype')!r}; a type is expected: {_ANEW}"
            )
        if (key in (OBS_STATE, ACTION) or feature["dtype"] in ("image", "video")) and not (
            isinstance(shape, list) and shape and all(isinstance(size, int) and size > 0 for size in shape)
        ):
            raise UserError(
                f"{file}: features.{key}.shape is {shape!r}; a list of whole numbers is expected: {_ANEW}"
            )
    if lacking := sorted(set(_PLACE) - set(features)):
        raise UserError(
            f"{file}: features lacks {', '.join(lacking)}, which every LeRobotDataset has; {_ANEW}"
        )
    paths = ("data_path", "video_path") if _cameras(features) else ("data_path",)
    for key in paths:
        if not _is_template(info.get(key)):
            raise UserError(
                f"{file}: {key} is {info.get(key)!r}; a path with {{chunk_index}} and {{file_index}} is expected, "
                f"inside the data set: {_ANEW}"
            )
    for key in _cameras(features):
        if not _inside(key):
            raise UserError(f"{file}: the camera {key!r} is no name of a folder inside the data set; {_ANEW}")


def check_episodes(files: Sequence[Path], info: Mapping[str, Any]) -> list[int]:
    """Refuses tables of episodes that are not one row for each, in order, with the frames one behind the other.

    Returns:
        How many frames each episode has.

    Raises:
        UserError: names the file, the column and the episode.
    """
    videos = [f"videos/{key}" for key in _cameras(info["features"])]
    columns = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
    columns += [f"{kind}/{what}_index" for kind in ("data", *videos) for what in ("chunk", "file")]
    columns += [f"{video}/from_timestamp" for video in videos]
    lengths: list[int] = []
    frames = 0
    for file in files:
        rows = read_table(file, columns).to_pylist()
        for row in rows:
            number = len(lengths)
            for column, value in row.items():
                if not isinstance(value, (int, float)) or not math.isfinite(value) or value < 0:
                    raise UserError(
                        f"{file}: {column} of episode {number} is {'missing' if value is None else value}; {_ANEW}"
                    )
            length = int(row["length"])
            true = {
                "episode_index": number,
                "dataset_from_index": frames,
                "dataset_to_index": frames + length,
            }
            for column, value in true.items():
                if row[column] != value:
                    raise UserError(
                        f"{file}: {column} of row {number} is {row[column]}, by the rows before it should be "
                        f"{value}; was the data set put together by hand? lerobot-edit-dataset does it right"
                    )
            lengths.append(length)
            frames += length
    return lengths


def check_tasks(file: Path) -> None:
    """Refuses a table whose index are not the words of the tasks.

    Raises:
        UserError: names the file and what stands there.
    """
    read_schema(file)  # or what is wrong with the file is said
    words = pq.read_table(file).to_pandas().index.tolist()
    if wrong := [word for word in words if not isinstance(word, str)]:
        raise UserError(
            f"{file} has {wrong[0]!r} in the place of a task's words (they are the index of the table); {_ANEW}"
        )


def check_statistics(stats: Mapping[str, Any], info: Mapping[str, Any], file: Path) -> None:
    """Refuses statistics of state or action that are no numbers, or not one for each dimension.

    Raises:
        UserError: names file and key.
    """
    for feature in (OBS_STATE, ACTION):
        if feature not in info["features"] or feature not in stats:
            continue
        width = info["features"][feature]["shape"][0]
        known = stats[feature] if isinstance(stats[feature], dict) else {"(all)": stats[feature]}
        for name, values in known.items():
            if name == "count":
                continue
            if not isinstance(values, list) or len(values) != width or not all(map(_is_number, values)):
                got = (
                    f"{len(values)} values"
                    if isinstance(values, list) and len(values) != width
                    else repr(values)
                )
                raise UserError(
                    f"{file}: {feature}.{name} is {got[:80]}; {width} finite numbers are expected. Copy the file "
                    "anew, or delete it: statistics of the data are only compared with the policy's own"
                )


def _is_template(text: Any) -> bool:
    """Whether a text is LeRobot's pattern of a path: numbers and the camera are put in, and asked for nothing."""
    if not isinstance(text, str):
        return False
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        return False
    fields = [(name, form, how) for _, name, form, how in parts if name is not None]
    put_in = all(
        name in _PUT_IN and how is None and re.fullmatch(r"(0?\dd)?", form or "")
        for name, form, how in fields
    )
    return put_in and _inside(text)


def _inside(path: str) -> bool:
    """Whether a relative path stays below the folder that it is of."""
    return (
        not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts and "\0" not in path
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


def _cameras(features: Mapping[str, Any]) -> list[str]:
    return [key for key, feature in features.items() if feature["dtype"] == "video"]
