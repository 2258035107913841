"""The robot of a data set: its joints, how far they may go, how often it is told where to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.utils.constants import ACTION
from torch import Tensor


@dataclass(frozen=True)
class Robot:
    """What motion is judged by.

    Attributes:
        joints: their names, one per real action dimension.
        lower: limit of each joint, in its unit.
        upper: the other limit.
        fps: control steps per second.
    """

    joints: tuple[str, ...]
    lower: Float[Tensor, " a"]
    upper: Float[Tensor, " a"]
    fps: float

    @property
    def grippers(self) -> tuple[int, ...]:
        """The joints that are called grippers."""
        return tuple(number for number, joint in enumerate(self.joints) if "gripper" in joint.lower())


def robot_of(
    meta: LeRobotDatasetMetadata,
    *,
    lower: Sequence[float] | None = None,
    upper: Sequence[float] | None = None,
    limit_margin: float = 0.05,
) -> Robot:
    """The robot that recorded a data set.

    Args:
        meta: of the data set.
        lower: limits of the joints; None takes the smallest recorded action of each, less a margin.
        upper: likewise.
        limit_margin: that margin, as a share of the recorded range.

    Raises:
        ValueError: limits of another number of joints, or none given and none recorded.
    """
    feature = meta.features[ACTION]
    joints = _names(feature.get("names"), int(feature["shape"][0]))
    limits: dict[str, Tensor] = {}
    for name, given in (("lower", lower), ("upper", upper)):
        if given is None:
            limits[name] = _recorded(meta, name, limit_margin)
            continue
        if len(given) != len(joints):
            raise ValueError(
                f"{name} has {len(given)} limits; allowed: {len(joints)}, one for each of {', '.join(joints)}, or "
                "null for those the data set has seen"
            )
        limits[name] = torch.tensor(list(given), dtype=torch.float32)
    return Robot(joints, limits["lower"], limits["upper"], float(meta.fps))


def _recorded(meta: LeRobotDatasetMetadata, name: str, margin: float) -> Tensor:
    statistics: Mapping[str, Any] = (meta.stats or {}).get(ACTION, {})
    if not {"min", "max"} <= statistics.keys():
        raise ValueError(
            f"{name}=null, and data set {meta.repo_id} has no min and max of {ACTION} in its statistics; give the "
            "robot's joint limits (lower=[...] upper=[...])"
        )
    low, high = (torch.as_tensor(statistics[key], dtype=torch.float32).flatten() for key in ("min", "max"))
    room = margin * (high - low)
    return low - room if name == "lower" else high + room


def _names(names: Any, count: int) -> tuple[str, ...]:
    """Names as data sets have them: a list, a list under some key, numbered, or none that fit."""
    if isinstance(names, Mapping) and all(isinstance(place, int) for place in names.values()):
        names = sorted(names, key=names.__getitem__)
    elif isinstance(names, Mapping):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    if not names or len(names) != count:
        return tuple(f"joint_{number}" for number in range(count))
    return tuple(str(name).replace("/", "_") for name in names)
