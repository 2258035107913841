"""Data and policy side by side: cameras, dimensions, chunk, frame rate.

Here they are shown and remarked upon; :mod:`reflow.data.checks` is what refuses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lerobot.configs import PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.data import check_fit
from reflow.data.features import picture_size
from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.errors import UserError
from reflow.files import read_json
from reflow.flow import ActionSpace

_OVERRIDE = re.compile(r"data\.rename=\{[^}]*\}")


def fit_check(
    meta: LeRobotDatasetMetadata,
    policy: PreTrainedConfig,
    space: ActionSpace,
    rename: Mapping[str, str],
    folder: Path,
    saved_rename: Mapping[str, str] | None = None,
) -> Check:
    """Puts data and policy side by side; works also where they do not fit.

    Args:
        meta: the data set's metadata.
        policy: LeRobot's configuration of the teacher.
        space: the teacher's.
        rename: from the data set's camera keys to the policy's.
        folder: the teacher's, for what its training wrote down (``train_config.json``).
        saved_rename: likewise, of the policy's own preprocessor; ``rename`` goes first.
    """
    lengths = [int(length) for length in meta.episodes["length"]]
    long_enough = sum(length >= space.chunk_size for length in lengths) / len(lengths)
    trained = _training(folder)
    policy_fps = (trained.get("env") or {}).get("fps")
    names = {**(saved_rename or {}), **rename}
    cameras = {names.get(key, key): picture_size(meta.features[key]) for key in meta.camera_keys}
    wanted = {key: picture_size({"shape": feature.shape}) for key, feature in policy.image_features.items()}
    lines: list[tuple[object, object, object]] = [
        (key, _image(cameras.get(key)), _image(wanted.get(key))) for key in sorted(cameras.keys() | wanted)
    ]
    state = policy.robot_state_feature
    lines += [
        ("state", _width(meta, OBS_STATE), state.shape[0] if state is not None else "-"),
        ("action", _width(meta, ACTION), f"{space.action_dim} of {space.max_action_dim} native"),
        ("chunk", "-", f"{space.chunk_size} steps, {policy.n_action_steps} of them played"),
        ("fps", meta.fps, policy_fps or "not stored"),
        ("seconds in a chunk", f"{space.chunk_size / meta.fps:.3g}", "-"),
        ("episodes", f"{len(lengths)} of {min(lengths)} to {max(lengths)} frames", "-"),
        ("data set", meta.repo_id, (trained.get("dataset") or {}).get("repo_id") or "not stored"),
    ]
    figures = {
        "fps": meta.fps,
        "chunk_size": space.chunk_size,
        "chunk_seconds": space.chunk_size / meta.fps,
        "action_dim": space.action_dim,
        "max_action_dim": space.max_action_dim,
        "episodes": len(lengths),
        "longest_episode": max(lengths),
        "share_of_episodes_as_long_as_a_chunk": long_enough,
    }
    found = [
        *_misfit(meta, policy, rename, saved_rename),
        *_cameras(cameras, wanted),
        *_times(meta.fps, policy_fps, long_enough, space.chunk_size),
    ]
    if not found:
        found.append(Finding("fit", "ok", "Cameras, dimensions and chunk length of data and policy agree."))
    table = Table("data and policy", ("", "data", "policy"), rows(lines))
    return Check("fit", {name: float(value) for name, value in figures.items()}, tuple(found), (table,))


def _misfit(
    meta: LeRobotDatasetMetadata,
    policy: PreTrainedConfig,
    rename: Mapping[str, str],
    saved: Mapping[str, str] | None,
) -> Iterator[Finding]:
    try:
        check_fit(meta, policy, rename, saved)
    except UserError as error:
        override = _OVERRIDE.search(str(error))
        yield Finding(
            "misfit",
            "error",
            str(error),
            "The teacher cannot use these data.",
            f"'{override.group()}'" if override else "data.repo_id=... data.root=... teacher.path=...",
        )


def _cameras(have: Mapping[str, Any], wanted: Mapping[str, Any]) -> Iterator[Finding]:
    if spare := sorted(have.keys() - wanted.keys()):
        yield Finding("unused_cameras", "note", f"The policy does not use {spare} of the data.")
    for key in sorted(have.keys() & wanted.keys()):
        (height, width), (policy_height, policy_width) = have[key], wanted[key]
        if abs(height * policy_width - width * policy_height) > max(height, width):
            yield Finding(
                "camera_shape",
                "note",
                f"{key} is {height}x{width} in the data, {policy_height}x{policy_width} in the policy's "
                "configuration: another aspect ratio.",
                "The picture is letterboxed differently from training.",
            )


def _times(fps: int, policy_fps: int | None, long_enough: float, chunk_size: int) -> Iterator[Finding]:
    if policy_fps is not None and policy_fps != fps:
        yield Finding(
            "frame_rate",
            "warning",
            f"The data have {fps} frames a second, the teacher was trained for {policy_fps}.",
            "A chunk of the teacher then spans another time than a chunk of the data.",
            "choose the data set this teacher was trained on (data.repo_id=...)",
        )
    if long_enough < 0.5:
        yield Finding(
            "short_episodes",
            "note",
            f"Only {long_enough:.0%} of the episodes are as long as a chunk ({chunk_size} steps).",
            "A slice of start frames is like that; in whole episodes it is a sign of another frame rate.",
        )


def _training(folder: Path) -> dict[str, Any]:
    file = folder / "train_config.json"
    return read_json(file) if file.is_file() else {}


def _width(meta: LeRobotDatasetMetadata, key: str) -> object:
    return meta.features[key]["shape"][0] if key in meta.features else "missing"


def _image(size: tuple[int, int] | None) -> str:
    return "missing" if size is None else "x".join(map(str, size))
