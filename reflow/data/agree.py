"""Do the data sets of a run belong to its policy and to each other, and are they whole? Asked before training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lerobot.configs import PreTrainedConfig
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.data.checks import check_fit, check_lengths
from reflow.data.features import picture_size
from reflow.data.health import check_values
from reflow.data.opened import OpenSource
from reflow.data.videos import check_videos
from reflow.errors import UserError
from reflow.notices import warn


def check_sources(
    sources: Sequence[OpenSource],
    policy: PreTrainedConfig,
    allow_short: bool = False,
    saved_rename: Mapping[str, str] | None = None,
) -> None:
    """Refuses data sets that cannot be trained on, one by one and beside each other.

    Args:
        sources: opened.
        policy: LeRobot's configuration of the policy that will look at them.
        allow_short: accept episodes shorter than the policy's chunk.
        saved_rename: camera names that the policy's own preprocessor was saved with.

    Raises:
        MissingFileError: a file is missing.
        UserError: names the data set, or the two that differ, and the way out.
    """
    for source in sources:
        check_fit(source.meta, policy, source.source.rename or {}, saved_rename, source.source.where)
        chunk_size = len(policy.action_delta_indices or ())
        check_lengths(source.meta, [*source.train], chunk_size, allow_short)
    for other in sources[1:]:
        _check_alike(sources[0], other, policy)
    for source in sources:
        check_values(source)
        check_videos(source)


def kept_cameras(sources: Sequence[OpenSource]) -> list[dict[str, str]]:
    """The cameras that are read of each data set, and what they are called for the policy.

    Of a single one all; of several those that all of them have, or their batches would differ.
    """
    cameras = [_cameras(source) for source in sources]
    common = set.intersection(*(set(names.values()) for names in cameras))
    return [{key: name for key, name in names.items() if name in common} for names in cameras]


def _cameras(source: OpenSource) -> dict[str, str]:
    return {key: source.rename.get(key, key) for key in source.meta.camera_keys}


def _check_alike(one: OpenSource, other: OpenSource, policy: PreTrainedConfig) -> None:
    both = f"{one.source} and {other.source}"
    for key in (OBS_STATE, ACTION):
        widths = [source.meta.features.get(key, {}).get("shape", (0,))[0] for source in (one, other)]
        if widths[0] != widths[1]:
            raise UserError(
                f"{both} differ: {key} of {widths[0]} and of {widths[1]}; mix data of one robot only"
            )
    here, there = (
        {name: picture_size(source.meta.features[key]) for key, name in _cameras(source).items()}
        for source in (one, other)
    )
    wanted = set(policy.image_features)
    if lacking := sorted((here.keys() ^ there.keys()) & wanted):
        raise UserError(
            f"{both} differ: only one of them has {lacking}, which the policy looks at; rename its camera in its "
            "entry of data.mixture (rename: {theirs: the policy's}), or leave one data set out"
        )
    for name in sorted(here.keys() & there.keys()):
        if here[name] != there[name]:
            sizes = " and ".join(f"{height}x{width}" for height, width in (here[name], there[name]))
            raise UserError(
                f"{both} differ: {name} is {sizes} (height x width), and batches are of one size; bring them to one "
                "size, or leave one data set out"
            )
    if one.meta.fps != other.meta.fps:
        warn(
            f"{both} differ: {one.meta.fps} and {other.meta.fps} frames a second; a chunk then spans another time in "
            "each of them"
        )
