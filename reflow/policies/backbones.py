"""Folders that a policy's files name beside its weights: the backbone's configuration, tokenizers, statistics.

Stock LeRobot asks for them by an absolute path or a hub id, whatever of their weights is in the policy's own. A
delivered policy carries those that are folders here, without their weights, and a policy that was moved finds them
inside, although the path in its files is stale.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

_WEIGHTS = (
    "*.safetensors",
    "*.bin",
    "*.pt",
    "*.pth",
    "*.ckpt",
    "*.pkl",
    "*.msgpack",
    "*.h5",
    "*.onnx",
    "onnx",
)
IGNORED = (*_WEIGHTS, "*.py", ".git")
"""What of a backbone's folder is not carried: weights, which are in the policy's own, and code, which never runs."""


def source_of(folder: Path, name: str) -> str:
    """Where a folder is that a policy's files name: inside the policy's own, where there is one of that name.

    Args:
        folder: of the policy.
        name: a path, or a hub id; that stays as it is.
    """
    inside = folder / Path(name).name
    return str(inside) if inside.is_dir() else name


def named_folders(step: Mapping[str, Any], folder: Path | None = None) -> Iterator[tuple[str, str]]:
    """Settings of a processor's step that name a folder, each with where it is now.

    Args:
        step: as in the processor's JSON.
        folder: of the policy, to look inside; None looks nowhere else.
    """
    for field, value in (step.get("config") or {}).items():
        if isinstance(value, str) and value and ("/" in value or field.endswith(("name", "path"))):
            found = value if folder is None else source_of(folder, value)
            if Path(found).is_dir():
                yield field, found


def carry(source: str | Path, place: Path) -> None:
    """Copies a backbone's folder, without its weights, and without code."""
    shutil.copytree(source, place, ignore=shutil.ignore_patterns(*IGNORED))


def stand_in_weights(folder: Path) -> None:
    """A weights file of one tensor, for classes that want one in a backbone's folder whatever it holds."""
    save_file({"none": torch.zeros(1)}, folder / "model.safetensors", metadata={"format": "pt"})
