"""Whether two runs are the same to the last bit, in all that they leave but for clocks."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

_CLOCKS = "throughput/"


def left_by(run: Path) -> dict[str, Any]:
    """Weights, last checkpoint, metrics and logs of a finished run, by name."""
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=False)
    metrics = json.loads((run / "metrics.json").read_text())
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        rows = [_without_clocks(row) for row in csv.DictReader(file)]
    return {
        "student": load_file(run / "pretrained_model" / "model.safetensors"),
        "checkpoint": {
            key: checkpoint[key]
            for key in (
                "global_step",
                "state_dict",
                "optimizer_states",
                "lr_schedulers",
                "current_model_state",
            )
        },
        "metrics.json": _without_clocks(metrics),
        "csv": [row for row in rows if set(row) - {"step", "epoch"}],
        "tensorboard": _scalars(run / "tensorboard"),
    }


def differences(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Where two of them differ."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for key in ours.keys() | theirs.keys():
            yield from differences(ours.get(key), theirs.get(key), f"{where}/{key}")
    elif isinstance(ours, (list, tuple)) and isinstance(theirs, (list, tuple)) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(one, other, f"{where}/{number}")
    elif isinstance(ours, torch.Tensor) and isinstance(theirs, torch.Tensor):
        if not torch.equal(ours, theirs):
            yield where
    elif ours != theirs:
        yield f"{where}: {ours} and {theirs}"[:300]


def _without_clocks(figures: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in figures.items() if not name.startswith(_CLOCKS) and value != ""}


def _scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
        if not tag.startswith(_CLOCKS)
    }
