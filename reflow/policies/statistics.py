"""Normalisation statistics as a policy folder holds them, read from its files alone.

Left out: the normalisation itself, which is LeRobot's, and whether they suffice for it
(:func:`reflow.policies.load_processors` refuses where they do not).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from reflow.files import read_json
from reflow.policies.folder import POSTPROCESSOR, PREPROCESSOR

_STEPS = {PREPROCESSOR: "normalizer_processor", POSTPROCESSOR: "unnormalizer_processor"}
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
    """

    tensors: dict[str, Tensor]
    modes: dict[str, str]

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
    for step in read_json(folder / name)["steps"]:
        if step.get("registry_name") == _STEPS[name]:
            modes |= step.get("config", {}).get("norm_map", {})
            if step.get("state_file"):
                tensors |= load_file(folder / step["state_file"])
    return SavedStatistics(tensors, modes)
