"""The names that policies give an environment's cameras, where they are not the environment's own."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def camera_map(
    cameras: Sequence[str], names: Sequence[Sequence[str]], wanted: Collection[str]
) -> dict[str, str]:
    """Which camera of an environment is which of a policy's.

    Args:
        cameras: the environment's, ``observation.images.*``.
        names: what policies call them, each in the order of ``cameras``.
        wanted: the policy's cameras.

    Returns:
        From the environment's keys to the policy's; empty where the names are the same, or unknown.
    """
    for known in names:
        if wanted and set(wanted) <= set(known):
            return {camera: name for camera, name in zip(cameras, known, strict=True) if name in wanted}
    return {}
