"""One feature's normalisation, joint by joint: the policy's statistics beside the data set's, and what is odd there.

Left out: the collection over features (:mod:`reflow.doctor.normalisation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from reflow.doctor.finding import Finding
from reflow.policies import SavedStatistics

CONSTANT = 1e-4
"""A scale below this (rad, m) is that of a joint that never moved."""
FAR = 10.0
"""Normalised values beyond this are no training data of this policy."""
SHIFT, RATIO = 1.0, 2.0
"""Data are other data where their mean is off by more standard deviations, or their spread by this factor."""
OVERSHOOT = 0.5
"""Endpoints may leave the range of the data's actions by this share of it."""

KINDS = {OBS_STATE: "STATE", ACTION: "ACTION"}
Statistics = Mapping[str, Mapping[str, object]]


@dataclass(frozen=True)
class Joints:
    """One feature's statistics, per joint, float64 ``[n]`` each; nan where the data set does not say.

    Attributes:
        names: of the joints.
        centre, scale: the policy's; a normalised value is ``(x - centre) / scale``.
        low, high: range of the data, physical.
        shift: of the data's mean from the policy's, in the policy's standard deviations.
        ratio: of the data's standard deviation to the policy's.
    """

    names: tuple[str, ...]
    centre: Float64[Tensor, " n"]
    scale: Float64[Tensor, " n"]
    low: Float64[Tensor, " n"]
    high: Float64[Tensor, " n"]
    shift: Float64[Tensor, " n"]
    ratio: Float64[Tensor, " n"]

    @property
    def constant(self) -> Tensor:
        """Joints whose scale says that they never moved."""
        return self.scale <= CONSTANT

    def normalise(self, x: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Physical to normalised; nan for constant joints."""
        return ((x - self.centre) / self.scale).masked_fill(self.constant, torch.nan)

    def physical(self, z: Float64[Tensor, " n"]) -> Float64[Tensor, " n"]:
        """Normalised to physical."""
        return z * self.scale + self.centre


def compare(
    saved: SavedStatistics, data: Statistics | None, feature: str, names: Sequence[str]
) -> Joints | None:
    """The policy's and the data set's statistics of one feature, side by side; None where it is not normalised.

    Args:
        saved: of the policy's preprocessor; it may pad them.
        data: of the data set (``meta/stats``), where it has some.
        feature: ``observation.state`` or ``action``.
        names: of its dimensions.
    """
    line = saved.line(feature, KINDS[feature])
    if line is None:
        return None
    centre, scale = (side[: len(names)] for side in line)
    nothing = torch.full_like(centre, torch.nan)

    def own(name: str) -> Tensor:
        return saved.tensors.get(f"{feature}.{name}", nothing)[: len(names)].double()

    def its(name: str) -> Tensor:
        value = (data or {}).get(feature, {}).get(name)
        return nothing if value is None else torch.as_tensor(value).double().reshape(-1)

    spread = own("std").masked_fill(own("std") <= CONSTANT, torch.nan)
    shift, ratio = (its("mean") - own("mean")) / spread, its("std") / spread
    return Joints(tuple(names), centre, scale, its("min"), its("max"), shift, ratio)


def joint_findings(feature: str, joints: Joints) -> Iterator[Finding]:
    """What one feature's statistics say."""
    still = (joints.high - joints.low <= CONSTANT) & ((joints.low - joints.centre).abs() <= CONSTANT)
    unknown = joints.low.isnan()
    if broken := _named(joints, joints.constant & ~still & ~unknown):
        yield Finding(
            "constant_joint",
            "error",
            f"{feature}: the policy's statistics say that {broken} never move, the data say that they do.",
            "Normalised, they are as good as infinite.",
            "save the teacher's processors with the statistics of its data set",
        )
    if quiet := _named(joints, joints.constant & (still | unknown)):
        yield Finding(
            "constant_joint",
            "note",
            f"{feature}: {quiet} never move in the data (scale at most {CONSTANT:g}).",
            "Whatever the policy says there, the robot gets their constant value.",
        )
    extreme = torch.maximum(joints.normalise(joints.low).abs(), joints.normalise(joints.high).abs())
    if far := _named(joints, extreme > FAR, extreme):
        yield Finding(
            "normalised_range",
            "warning",
            f"{feature}: normalised, the data reach beyond {FAR:g} at {far}.",
            "The teacher has hardly seen such values; outliers in the data, or the statistics of other data.",
            "look at those episodes, or choose the data set this teacher was trained on (data.repo_id=...)",
        )
    shifted = joints.shift.abs() > SHIFT
    scaled = (joints.ratio > RATIO) | (joints.ratio < 1 / RATIO)
    if other := _named(joints, shifted | scaled):
        yield Finding(
            "other_statistics",
            "warning",
            f"{feature}: the data's statistics are not the policy's at {other}: mean up to "
            f"{_largest(joints.shift.abs()):.2g} standard deviations off, spread from "
            f"{-_largest(-joints.ratio):.2g} to {_largest(joints.ratio):.2g} times the policy's.",
            f"Limits: {SHIFT:g}, and a factor of {RATIO:g}. The student would learn on observations that the "
            "teacher was not trained on.",
            "choose the data set this teacher was trained on (data.repo_id=... data.root=...)",
        )


def endpoint_findings(joints: Joints, low: Tensor, high: Tensor) -> Iterator[Finding]:
    """Does the teacher end where the data's actions are?

    Args:
        joints: of ``action``.
        low: least value of the teacher's endpoints, normalised, ``[a]``.
        high: greatest.
    """
    data_low, data_high = joints.normalise(joints.low), joints.normalise(joints.high)
    beyond = torch.maximum(data_low - low, high - data_high).clamp(min=0) / (data_high - data_low)
    if outside := _named(joints, beyond > OVERSHOOT, beyond):
        yield Finding(
            "endpoint_range",
            "warning",
            f"The teacher's endpoints leave the range of the data's actions at {outside} (shares of that range).",
            f"Limit {OVERSHOOT:g}. Another robot's units, other statistics, or an undertrained teacher.",
            "compare the joints in the table; choose the teacher's own data set (data.repo_id=...)",
        )


def _named(joints: Joints, which: Tensor, value: Tensor | None = None) -> str:
    numbers = which.nonzero().flatten().tolist()
    return ", ".join(
        joints.names[i] if value is None else f"{joints.names[i]} ({value[i].item():.3g})" for i in numbers
    )


def _largest(x: Tensor) -> float:
    known = x[~x.isnan()]
    return known.max().item() if len(known) else float("nan")
