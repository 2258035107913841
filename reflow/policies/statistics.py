"""Normalisation statistics as a policy folder holds them, read from its files alone.

And whether they can be true: numbers, one for each joint, the same before and after the policy. Left out: the
normalisation itself, which is LeRobot's, and whether they suffice for it
(:func:`reflow.policies.load_processors` refuses where they do not).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from safetensors.torch import load_file
from torch import Tensor

from reflow.errors import UserError
from reflow.files import read_json
from reflow.policies.files import CONFIG, NORMALIZERS, PADDED, POSTPROCESSOR, PREPROCESSOR

NEEDED = {
    "IDENTITY": (),
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
}
"""The statistics that each mode of normalisation uses."""
# By mode: the statistics that become -1 and 1; for MEAN_STD the one that becomes 0 (its scale is ``std``).
_LINES: dict[str, tuple[str, str | None, float, float]] = {
    "MEAN_STD": ("mean", None, 0.0, 1.0),
    "MIN_MAX": ("min", "max", -1.0, 1.0),
    "QUANTILES": ("q01", "q99", -1.0, 1.0),
    "QUANTILE10": ("q10", "q90", -1.0, 1.0),
}


@dataclass(frozen=True)
class SavedStatistics:
    """Statistics and modes of one processor.

    Attributes:
        tensors: by ``<feature>.<statistic>``, e.g. ``action.mean``.
        modes: how each kind of feature (``STATE``, ``ACTION``, ``VISUAL``) is normalised.
        kinds: the kind of each feature that is normalised.
        files: where each of the tensors stands, by name.
        widths: of state and action where they are normalised, by feature.
    """

    tensors: dict[str, Tensor]
    modes: dict[str, str]
    kinds: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    def used(self) -> Iterator[tuple[str, str, Tensor]]:
        """Feature, statistic and values of all that normalisation reads."""
        for feature, kind in self.kinds.items():
            for statistic in NEEDED.get(self.modes.get(kind, "IDENTITY"), ()):
                if (values := self.tensors.get(f"{feature}.{statistic}")) is not None:
                    yield feature, statistic, values

    def complete(self, feature: str) -> bool:
        """Whether all that its normalisation reads is there."""
        needed = NEEDED.get(self.modes.get(self.kinds.get(feature, ""), "IDENTITY"), ())
        return all(f"{feature}.{statistic}" in self.tensors for statistic in needed)

    def line(self, feature: str, kind: str) -> tuple[Tensor, Tensor] | None:
        """Centre and scale of a feature: its normalised value is ``(x - centre) / scale``.

        Args:
            feature: ``action`` or ``observation.state``.
            kind: ``ACTION`` or ``STATE``.

        Returns:
            Two float64 tensors, one value per dimension; None where the feature is not normalised.
        """
        mode = self.modes.get(kind, "IDENTITY")
        if mode not in _LINES or f"{feature}.{_LINES[mode][0]}" not in self.tensors:
            return None
        low_name, high_name, low, high = _LINES[mode]
        first = self.tensors[f"{feature}.{low_name}"].double()
        if high_name is None:
            return first, self.tensors[f"{feature}.std"].double()
        scale = (self.tensors[f"{feature}.{high_name}"].double() - first) / (high - low)
        return first - low * scale, scale


def saved_statistics(folder: Path, name: str = PREPROCESSOR) -> SavedStatistics:
    """What the normalising steps of one processor carry.

    Args:
        folder: a complete ``pretrained_model`` folder.
        name: the processor's file.
    """
    tensors: dict[str, Tensor] = {}
    modes: dict[str, str] = {}
    kinds: dict[str, str] = {}
    files: dict[str, str] = {}
    widths: dict[str, int] = {}
    for step in read_json(folder / name)["steps"]:
        if step.get("registry_name") == NORMALIZERS[name]:
            config = step.get("config", {})
            modes |= config.get("norm_map", {})
            widths |= {
                key: feature["shape"][0]
                for key, feature in config.get("features", {}).items()
                if key in PADDED
            }
            kinds |= {key: feature.get("type", "") for key, feature in config.get("features", {}).items()}
            if step.get("state_file"):
                loaded = load_file(folder / step["state_file"])
                tensors |= loaded
                files |= dict.fromkeys(loaded, step["state_file"])
    return SavedStatistics(tensors, modes, kinds, files, widths)


def check_statistics(folder: Path, names: Mapping[str, Sequence[str]] | None = None) -> None:
    """Refuses statistics with which normalisation would make nonsense in silence.

    Args:
        folder: a complete ``pretrained_model`` folder.
        names: of the dimensions, by feature, where they are known.

    Raises:
        UserError: a value in use that is not finite, statistics of another width than the configuration's, a
            spread below zero, or statistics of state or action that differ between the two processors. Names file,
            key, and dimension or widths.
    """
    config = read_json(folder / CONFIG)
    both = {name: saved_statistics(folder, name) for name in (PREPROCESSOR, POSTPROCESSOR)}
    for saved in both.values():
        for feature, statistic, values in saved.used():
            file, key = folder / saved.files[f"{feature}.{statistic}"], f"{feature}.{statistic}"
            _check_finite(file, key, values, (names or {}).get(feature, ()))
            if feature in PADDED and values.ndim > 1:
                raise UserError(
                    f"{file}: {key} is of shape {list(values.shape)}; allowed: one value for each dimension of "
                    f"{feature}, in a row. Save the policy with the statistics of the data it was trained on"
                )
            widths = _widths(config, feature, saved)
            if widths and (width := values.numel()) not in widths:
                raise UserError(
                    f"{file}: {key} has {width} value{'s' * (width != 1)}, but {folder / CONFIG} says {widths[0]} "
                    f"for {feature}; the two have to agree, or values would be stretched over joints they are not "
                    "of. Save the policy with the statistics of the data it was trained on"
                )
        _check_order(folder, saved, names or {})
    _check_same(folder, both[PREPROCESSOR], both[POSTPROCESSOR], names or {})


def _widths(config: Mapping[str, Any], feature: str, saved: SavedStatistics) -> list[int]:
    """How wide a feature's statistics may be: as it is itself, or padded where the processor takes it so."""
    features = (config.get("input_features") or {}) | (config.get("output_features") or {})
    if feature not in PADDED or feature not in features:
        return []
    widths = [features[feature]["shape"][0]]
    padded = config.get(PADDED[feature])
    return [*widths, padded] if padded is not None and saved.widths.get(feature) == padded else widths


def _check_finite(file: Path, key: str, values: Tensor, names: Sequence[str]) -> None:
    bad = (~torch.isfinite(values.flatten())).nonzero().flatten().tolist()
    if bad:
        value = values.flatten()[bad[0]].item()
        more = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
        raise UserError(
            f"{file}: {key} is {value} for {_dimension(bad[0], names)}{more}; normalisation would make every "
            "value of it NaN. Compute the statistics of the policy's data set anew, and save the policy with them"
        )


def _check_order(folder: Path, saved: SavedStatistics, names: Mapping[str, Sequence[str]]) -> None:
    """A scale below zero turns a joint around; of none at all the data have to be asked (the doctor does)."""
    for feature in PADDED:
        kind = saved.kinds.get(feature, "")
        line = saved.line(feature, kind) if saved.complete(feature) else None
        if line is None or not (line[1] < 0).any():
            continue
        index = int((line[1] < 0).nonzero()[0])
        keys = [f"{feature}.{name}" for name in NEEDED[saved.modes[kind]]]
        values = " and ".join(f"{key} {saved.tensors[key][index].item():g}" for key in keys)
        raise UserError(
            f"{folder / saved.files[keys[0]]}: {values} for {_dimension(index, names.get(feature, ()))} make a "
            "spread below zero, and the joint would move the other way. Compute the statistics of the policy's data "
            "set anew, and save the policy with them"
        )


def _check_same(
    folder: Path, pre: SavedStatistics, post: SavedStatistics, names: Mapping[str, Sequence[str]]
) -> None:
    mend = (
        "the policy would act in another scale than it was trained in. Copy the statistics of the one that is "
        "right to the other"
    )
    for kind in ("STATE", "ACTION"):
        if kind in pre.modes and kind in post.modes and pre.modes[kind] != post.modes[kind]:
            raise UserError(
                f"{folder / PREPROCESSOR} normalises {kind} by {pre.modes[kind]}, {folder / POSTPROCESSOR} by "
                f"{post.modes[kind]}; {mend}"
            )
    for feature, statistic, one in pre.used():
        other = post.tensors.get(key := f"{feature}.{statistic}")
        if feature not in (OBS_STATE, ACTION) or other is None:
            continue
        if one.shape != other.shape:
            where, values = "", (f"{one.numel()} values", f"{other.numel()} values")
        elif torch.equal(one, other):
            continue
        else:
            index = int((one != other).flatten().nonzero()[0])
            where = f" for {_dimension(index, names.get(feature, ()))}"
            values = (f"{one.flatten()[index].item():g}", f"{other.flatten()[index].item():g}")
        raise UserError(
            f"{key}{where} is {values[0]} in {folder / pre.files[key]} and {values[1]} in "
            f"{folder / post.files[key]}; {mend}"
        )


def _dimension(index: int, names: Sequence[str]) -> str:
    return f"dimension {index}" + (f" ({names[index]})" if index < len(names) else "")
