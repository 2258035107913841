"""What a data set's features say about themselves, however they say it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CHANNELS = (1, 3, 4)


def picture_size(feature: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width of a camera.

    The names of the axes decide which is which. Where they say nothing, the channels are where 1, 3 or 4 stands: last
    as LeRobot writes it, unless only the first axis can be it.

    Args:
        feature: of ``meta.features``.
    """
    shape = [int(size) for size in feature["shape"]]
    names = feature.get("names")
    names = [str(name).lower() for name in names] if isinstance(names, (list, tuple)) else []
    if len(names) == len(shape):
        height, width = (
            next((place for place, name in enumerate(names) if name.startswith(letter)), None)
            for letter in ("h", "w")
        )
        if height is not None and width is not None:
            return shape[height], shape[width]
    first = len(shape) == 3 and shape[0] in _CHANNELS and shape[-1] not in _CHANNELS
    height, width = shape[-2:] if first else shape[:2]
    return height, width
