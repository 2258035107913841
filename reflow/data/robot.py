"""The robot of a data set: its joints, how far they may go, how often it is told where to go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from lerobot.configs import PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from reflow.errors import UserError


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
    *others: LeRobotDatasetMetadata,
    lower: Sequence[float] | None = None,
    upper: Sequence[float] | None = None,
    limit_margin: float = 0.05,
) -> Robot:
    """The robot that recorded a data set.

    Args:
        meta: of the data set.
        others: of more that the same robot recorded.
        lower: limits of the joints; None takes the smallest recorded action of each, less a margin.
        upper: likewise.
        limit_margin: that margin, as a share of the recorded range.

    Raises:
        UserError: limits of another number of joints, or none given and none recorded.
    """
    joints = joint_names(meta, ACTION, int(meta.features[ACTION]["shape"][0]))
    for name, given in (("lower", lower), ("upper", upper)):
        if given is not None and len(given) != len(joints):
            raise UserError(
                f"{name} has {len(given)} limits; allowed: {len(joints)}, one for each of {', '.join(joints)}, or "
                "null for those the data set has seen"
            )
    low, high = (
        _recorded((meta, *others), name, limit_margin)
        if given is None
        else torch.tensor(list(given), dtype=torch.float32)
        for name, given in (("lower", lower), ("upper", upper))
    )
    return Robot(joints, low, high, float(meta.fps))


def joint_names(meta: LeRobotDatasetMetadata, feature: str, width: int) -> tuple[str, ...]:
    """Names of a feature's dimensions.

    Data sets have them as a list, as a list under some key, numbered, or none that fit or tell them apart: then
    they are numbered here.

    Args:
        meta: of the data set.
        feature: ``action`` or ``observation.state``.
        width: how many names there must be.
    """
    names: Any = meta.features.get(feature, {}).get("names")
    names = list(names) if isinstance(names, tuple) else names
    if isinstance(names, Mapping) and all(isinstance(place, int) for place in names.values()):
        names = sorted(names, key=names.__getitem__)
    elif isinstance(names, Mapping):
        names = [name for group in names.values() for name in (group if isinstance(group, list) else [group])]
    names = names if isinstance(names, list) else []
    if len(names) != width or len(set(map(str, names))) < width:
        names = [f"joint_{number}" for number in range(width)]
    return tuple(str(name).replace("/", "_") for name in names)


def dimension_names(meta: LeRobotDatasetMetadata, policy: PreTrainedConfig) -> dict[str, tuple[str, ...]]:
    """Names of the dimensions of state and action, as many as a policy has."""
    widths = {OBS_STATE: policy.robot_state_feature, ACTION: policy.action_feature}
    return {
        feature: joint_names(meta, feature, 0 if entry is None else entry.shape[0])
        for feature, entry in widths.items()
    }


def _recorded(metas: Sequence[LeRobotDatasetMetadata], name: str, margin: float) -> Tensor:
    ends: dict[str, list[Tensor]] = {"min": [], "max": []}
    for meta in metas:
        statistics: Mapping[str, Any] = (meta.stats or {}).get(ACTION, {})
        if not ends.keys() <= statistics.keys():
            raise UserError(
                f"{name}=null, and data set {meta.repo_id} has no min and max of {ACTION} in its statistics; give "
                "the robot's joint limits (lower=[...] upper=[...])"
            )
        for key, values in ends.items():
            values.append(torch.as_tensor(statistics[key], dtype=torch.float32).flatten())
    low, high = torch.stack(ends["min"]).amin(0), torch.stack(ends["max"]).amax(0)
    room = margin * (high - low)
    return low - room if name == "lower" else high + room
