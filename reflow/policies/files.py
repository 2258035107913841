"""The files of a policy folder in memory: what is odd is changed here, before anything is loaded.

Weights are large: they stay on disk, and what is to be done to them is remembered until they are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lerobot.utils.constants import ACTION, OBS_STATE
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from reflow.files import read_json

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
PREPROCESSOR = "policy_preprocessor.json"
POSTPROCESSOR = "policy_postprocessor.json"
PROCESSORS = (PREPROCESSOR, POSTPROCESSOR)
VLM = "vlm"
CARD = "README.md"
ADAPTER = "adapter_model.safetensors"
ADAPTER_CONFIG = "adapter_config.json"

NORMALIZERS = {PREPROCESSOR: "normalizer_processor", POSTPROCESSOR: "unnormalizer_processor"}
"""The registered step that normalises, by processor."""
RENAME = "rename_observations_processor"

PADDED = {OBS_STATE: "max_state_dim", ACTION: "max_action_dim"}
"""The configuration's fields that say to which width they are padded; some policies normalise them padded."""

Tensors = dict[str, Tensor]


@dataclass
class PolicyFiles:
    """A policy folder's JSON and statistics, to be changed in place; and what becomes of its weights.

    Attributes:
        folder: where they were read.
        config: of ``config.json``.
        processors: by file name; empty where the folder has none.
        statistics: of the processors' steps, by file name.
        weights_file: where the weights are; None while it is not known.
        weight_changes: functions from weights to weights, applied in order when they are written.
        sources: files beyond the folder that the weights are made of.
        dropped: names in the folder that have no place in an ordinary one.
        doubts: lines that warn.
    """

    folder: Path
    config: dict[str, Any]
    processors: dict[str, dict[str, Any]]
    statistics: dict[str, Tensors]
    weights_file: Path | None
    weight_changes: list[Callable[[Tensors], Tensors]] = field(default_factory=list)
    sources: list[Path] = field(default_factory=list)
    dropped: set[str] = field(default_factory=set)
    doubts: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, folder: Path) -> PolicyFiles:
        """What a folder holds; it was checked to be whole."""
        processors = {name: read_json(folder / name) for name in PROCESSORS if (folder / name).is_file()}
        states = [
            step["state_file"]
            for content in processors.values()
            for step in content["steps"]
            if step.get("state_file")
        ]
        weights = folder / WEIGHTS
        return cls(
            folder,
            read_json(folder / CONFIG),
            processors,
            {name: load_file(folder / name) for name in states},
            weights if weights.is_file() else None,
        )

    def steps(self, processor: str, registry_name: str) -> Iterator[dict[str, Any]]:
        """Steps of one kind in one processor."""
        for step in self.processors.get(processor, {}).get("steps", ()):
            if step.get("registry_name") == registry_name:
                yield step

    def normalizers(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """The steps that normalise, each with its processor's file name."""
        for processor, name in NORMALIZERS.items():
            for step in self.steps(processor, name):
                yield processor, step

    @property
    def saved_rename(self) -> dict[str, str]:
        """From the keys of the data to the policy's, as the preprocessor has it."""
        renames: dict[str, str] = {}
        for step in self.steps(PREPROCESSOR, RENAME):
            renames |= step.get("config", {}).get("rename_map") or {}
        return renames

    def features(self, which: str) -> dict[str, dict[str, Any]]:
        """``input_features`` or ``output_features`` of the configuration."""
        return self.config.get(which) or {}

    def weight_names(self) -> list[str]:
        """Names of the tensors in the weights, read from the head of the file."""
        if self.weights_file is None:
            return []
        with safe_open(self.weights_file, "pt") as file:
            return list(file.keys())

    def load_weights(self) -> Tensors:
        """The weights after all changes."""
        assert self.weights_file is not None
        weights = load_file(self.weights_file)
        for change in self.weight_changes:
            weights = change(weights)
        return weights
