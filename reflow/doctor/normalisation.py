"""Normalisation, joint by joint: are the statistics plausible, and are these the data the teacher was trained on?

From statistics alone (the policy's own, and the data set's ``meta/stats``), and the range of the teacher's endpoints.
Statistics that are missing, no numbers, or not the same in both processors are refused before it comes to this
(:func:`reflow.policies.check_statistics`).

Left out: images, whose statistics say little.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

from jaxtyping import Float64
from lerobot.utils.constants import ACTION, OBS_STATE
from torch import Tensor

from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.doctor.joints import Joints, Statistics, compare, endpoint_findings, joint_findings
from reflow.policies import SavedStatistics


def normalisation_check(
    saved: SavedStatistics,
    data: Statistics | None,
    names: Mapping[str, Sequence[str]],
    endpoints: Float64[Tensor, "n a"] | None,
) -> Check:
    """Statistics of states and actions, and the range of the teacher's endpoints.

    Args:
        saved: of the policy's preprocessor.
        data: of the data set, where it has some.
        names: of each feature's dimensions.
        endpoints: what the teacher gives the robot, normalised, every chunk step a row; None where it was not
            asked.
    """
    figures: dict[str, float] = {}
    found: list[Finding] = []
    tables: list[Table] = []
    if data is None or ACTION not in data:
        found.append(
            Finding("no_statistics", "note", "The data set has no statistics: it cannot be compared.")
        )
    for feature in (OBS_STATE, ACTION):
        joints = compare(saved, data, feature, names[feature])
        if joints is None:
            found.append(Finding("not_normalised", "note", f"{feature} is not normalised in this policy."))
            continue
        ends = None
        if feature == ACTION and endpoints is not None:
            ends = endpoints.double().amin(0).cpu(), endpoints.double().amax(0).cpu()
            found += endpoint_findings(joints, *ends)
        found += joint_findings(feature, joints)
        figures |= _figures(feature, joints, ends)
        tables += _tables(feature, joints, ends)
    if not found:
        found.append(
            Finding("normalisation", "ok", "Statistics are there, plausible, and those of the data.")
        )
    return Check("normalisation", figures, tuple(found), tuple(tables))


def _figures(feature: str, joints: Joints, ends: tuple[Tensor, Tensor] | None) -> dict[str, float]:
    columns = {
        "low": joints.low,
        "high": joints.high,
        "normalised_low": joints.normalise(joints.low),
        "normalised_high": joints.normalise(joints.high),
        "scale": joints.scale,
        "mean_shift": joints.shift,
        "std_ratio": joints.ratio,
    }
    for name, end in zip(("low", "high"), ends or (), strict=False):
        columns |= {f"endpoint_normalised_{name}": end, f"endpoint_{name}": joints.physical(end)}
    return {
        f"{feature}/{joint}/{name}": value
        for name, column in columns.items()
        for joint, value in zip(joints.names, column.tolist(), strict=True)
    }


def _tables(feature: str, joints: Joints, ends: tuple[Tensor, Tensor] | None) -> Iterator[Table]:
    data = _spans(joints.low, joints.high)
    normalised = _spans(joints.normalise(joints.low), joints.normalise(joints.high))
    columns = (joints.names, data, normalised, joints.shift.tolist(), joints.ratio.tolist())
    yield Table(
        f"{feature}: the data, and their statistics against the policy's",
        ("joint", "data", "normalised", "mean off", "spread"),
        rows(zip(*columns, strict=True)),
    )
    if ends is not None:
        teacher = _spans(*map(joints.physical, ends))
        yield Table(
            "actions of the data, and endpoints of the teacher",
            ("joint", "data", "teacher", "data, norm.", "teacher, norm."),
            rows(zip(joints.names, data, teacher, normalised, _spans(*ends), strict=True)),
        )


def _spans(low: Tensor, high: Tensor) -> list[str]:
    pairs = zip(low.tolist(), high.tolist(), strict=True)
    return ["-" if isnan(least) else f"{least:.2g}..{greatest:.2g}" for least, greatest in pairs]
