"""Do this data set and this policy belong together? Asked before anything is trained.

Every refusal lists both sides and the override that corrects it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lerobot.configs import PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.errors import UserError


def check_fit(
    meta: LeRobotDatasetMetadata,
    policy: PreTrainedConfig,
    rename: Mapping[str, str],
    saved: Mapping[str, str] | None = None,
    where: str = "data",
) -> None:
    """Compares a data set's features with what a policy was trained on.

    Args:
        meta: the data set's metadata.
        policy: LeRobot's configuration of the teacher.
        rename: from the data set's camera keys to the policy's (``data.rename``).
        saved: likewise, of the policy's own preprocessor; ``rename`` goes first. What the data set lacks of it is no
            mistake.
        where: the section that names the data set, for errors.

    Raises:
        UserError: action or state width differ, or cameras of the policy are missing.
    """
    for key, feature, what in (
        (ACTION, policy.action_feature, "action"),
        (OBS_STATE, policy.robot_state_feature, "state"),
    ):
        if feature is None:
            continue
        have = meta.features.get(key)
        if have is None or have["shape"][0] != feature.shape[0]:
            raise UserError(
                f"{what} dimension does not fit: data set {meta.repo_id} has {key} of "
                f"{'no such key' if have is None else have['shape'][0]}"
                f"{_names(have)}, the teacher expects {feature.shape[0]}; choose the data set this teacher was "
                f"trained on ({where}.repo_id=..., {where}.root=...) or another teacher (teacher.path=...)"
            )
    unknown = sorted(set(map(str, rename)) - set(meta.camera_keys))
    if unknown:
        raise UserError(
            f"{where}.rename names {unknown}, which are no cameras of data set {meta.repo_id}; "
            f"its cameras: {sorted(meta.camera_keys)}"
        )
    others = {
        key: name
        for key, name in (saved or {}).items()
        if key in meta.features and key not in meta.camera_keys
    }
    if others:
        raise UserError(
            f"the policy's preprocessor renames {others}, and data set {meta.repo_id} has {sorted(others)}: only "
            "cameras are renamed here; take it out of the rename_map in policy_preprocessor.json, and call the "
            "data's feature by the policy's name"
        )
    given, rename = rename, {**(saved or {}), **rename}
    have_cameras = [rename.get(key, key) for key in meta.camera_keys]
    twice = sorted({key for key in have_cameras if have_cameras.count(key) > 1})
    if twice:
        raise UserError(
            f"{where}.rename gives {twice} to more than one camera of data set {meta.repo_id}, "
            f"{sorted(meta.camera_keys)}; one would silently hide the other: rename the other camera too"
        )
    wanted = [key for key in policy.image_features if ".empty_camera_" not in key]
    missing = [key for key in wanted if key not in have_cameras]
    if missing:
        renamed = {
            key: rename[key] for key in meta.camera_keys if key in rename and rename[key] not in wanted
        }
        said = f" (renamed: {renamed})" if renamed else ""
        spare = [key for key in meta.camera_keys if rename.get(key, key) not in wanted]
        renames = {**given, **dict(zip(spare or ["<camera>"], missing, strict=False))}
        pairs = ",".join(f"{old}:{new}" for old, new in renames.items())
        raise UserError(
            f"cameras do not fit: the teacher sees {wanted}, data set {meta.repo_id} has "
            f"{sorted(meta.camera_keys)}{said}; missing {missing}. If only the names differ: "
            f"'{where}.rename={{{pairs}}}'"
        )


def check_lengths(
    meta: LeRobotDatasetMetadata, episodes: Sequence[int], chunk_size: int, allow_short: bool
) -> None:
    """Every chunk of a policy should fit inside some episode.

    Raises:
        UserError: the longest chosen episode is shorter than the chunk.
    """
    longest = max(int(meta.episodes[episode]["length"]) for episode in episodes)
    if longest < chunk_size and not allow_short:
        raise UserError(
            f"chunk length does not fit: the teacher plans chunk_size={chunk_size} steps at once, the longest "
            f"episode of data set {meta.repo_id} has {longest} frames (fps {meta.fps}); is it recorded at another "
            "frame rate? If it is meant so: data.allow_short_episodes=true"
        )


def _names(feature: Mapping[str, object] | None) -> str:
    names = feature.get("names") if feature else None
    return f" {names}" if names else ""
