"""What a bundle is tried on: observations as a robot gives them, before any preprocessing.

Held-out frames of a data set, or, where none is named, pictures of noise and states drawn from the policy's own
statistics. Those say how long a policy takes, and that two ways to run it are the same; how large the error of an
inexact one is (int8, 16 bits), only real ones say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lerobot.utils.constants import ACTION, OBS_STATE
from safetensors.torch import save_file
from torch import Tensor

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.policies import FlowPolicy, saved_statistics
from reflow.policies.files import PREPROCESSOR

Raw = dict[str, Any]
"""Pictures ``[3, h, w]`` in [0, 1], a state ``[s]``, and a task in words."""


@dataclass(frozen=True)
class Tried:
    """Observations to try a policy on.

    Attributes:
        raw: the observations.
        where: they come from: the name of a data set, or ``drawn``.
    """

    raw: Sequence[Raw]
    where: str = "drawn"

    def save(self, path: Path) -> None:
        """Writes them for a process that has no reflow (:mod:`reflow.policies.alone`)."""
        tensors = {
            f"{number}/{key}": value.contiguous()
            for number, one in enumerate(self.raw)
            for key, value in one.items()
            if isinstance(value, Tensor)
        }
        save_file(tensors, path, metadata={"tasks": json.dumps([one["task"] for one in self.raw])})


def drawn(flow: FlowPolicy, folder: Path, count: int, task: str, seed: int = 0) -> Tried:
    """Observations made up for a policy.

    Args:
        flow: the policy.
        folder: it comes from, with the statistics of its states.
        count: how many.
        task: in words.
        seed: of all that is drawn.
    """
    generator = torch.Generator().manual_seed(seed)
    config: Any = flow.config
    line = saved_statistics(folder, PREPROCESSOR).line(OBS_STATE, "STATE")
    found: list[Raw] = []
    for _ in range(count):
        one: Raw = {"task": task}
        for key, feature in config.image_features.items():
            one[key] = torch.rand(*feature.shape, generator=generator)
        if config.robot_state_feature is not None:
            state = torch.randn(config.robot_state_feature.shape[0], generator=generator)
            if line is not None and len(line[0]) == len(state):
                # Within the statistics, whatever they are: half a scale is well inside of bounds.
                state = (line[0] + 0.5 * line[1] * state.double()).float()
            one[OBS_STATE] = state
        found.append(one)
    return Tried(found)


def held_out(data: LeRobotDataModule, count: int, name: str) -> Tried:
    """Held-out frames of a data set, evenly spread.

    Args:
        data: opened for the policy; its cameras have the policy's names.
        count: at most so many.
        name: of the data set.
    """
    frames = data.held_out
    rows = torch.linspace(0, len(frames) - 1, min(count, len(frames))).round().long().tolist()
    return Tried([_now(frames[row]) for row in dict.fromkeys(rows)], name)


def _now(item: Raw) -> Raw:
    """A frame as a robot shows it: the present alone, where a policy of LeRobot remembers the past itself."""
    kept = {key: value for key, value in item.items() if key.startswith("observation.") or key == "task"}
    return {
        key: value[-1] if isinstance(value, Tensor) and value.ndim == _stacked(key) else value
        for key, value in kept.items()
        if key not in (SAMPLE, VISIT, ACTION)
    }


def _stacked(key: str) -> int:
    """Dimensions of a feature of which several are stacked."""
    return 2 if key == OBS_STATE else 4
