"""What the native dimensions of an action are called, and where padding begins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from reflow.reports.content import Content


@dataclass(frozen=True)
class Dimensions:
    """The dimensions of a figure.

    Attributes:
        real: how many belong to the robot; None where that is not known.
        native: how many there are.
        names: one for each.
    """

    real: int | None
    native: int
    names: tuple[str, ...]


def dimensions_of(content: Content, native: int) -> Dimensions:
    """Names of ``native`` dimensions.

    Args:
        content: knows the robot's joints, or at least how many there are.
        native: width of the array that is shown.
    """
    real = len(content.joint_names) or None
    joints = content.arrays.get("endpoint_error_joint/student")
    if real is None and joints is not None:
        real = joints.shape[1]
    if real is None:
        real = _from_samples(content, native)
    if real is not None:
        real = min(real, native)
    names = [readable(name) for name in content.joint_names[:native]]
    names += [
        f"padding {number}" if real is not None and number >= real else f"dimension {number}"
        for number in range(len(names), native)
    ]
    return Dimensions(real, native, tuple(names))


def readable(name: str) -> str:
    """``left_wrist_angle`` as people write it."""
    return name.replace("_", " ").strip()


def _from_samples(content: Content, native: int) -> int | None:
    """The share of real samples, where they were not thinned out: each dimension has as many."""
    for what in ("noise", "endpoint"):
        sizes: list[int] = [
            int(content.arrays[key].size)
            for key in (f"histogram/student/{what}/real", f"histogram/student/{what}/padding")
            if key in content.arrays
        ]
        whole = int(np.sum(sizes))
        if len(sizes) == 2 and whole and (native * sizes[0]) % whole == 0 and sizes[1] != sizes[0]:
            return native * sizes[0] // whole
    return None
