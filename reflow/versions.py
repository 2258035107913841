"""Versions of what figures, and reports of bugs, depend on; and the machine."""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
from collections.abc import Iterable

import torch

DECISIVE = ("reflow", "torch", "lightning", "lerobot", "transformers")


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Versions of these packages as installed here; those that are not are left out."""
    versions = {}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def versions_here() -> dict[str, str]:
    """Versions of Python and of what matters for the figures, as installed here."""
    return {"python": platform.python_version()} | versions_of(DECISIVE)


def machine_here() -> str:
    """What figures of speed depend on most, in a few words: the GPU, or how many cores."""
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        return f"{count} x {torch.cuda.get_device_name(0)}" if count > 1 else torch.cuda.get_device_name(0)
    cores = os.cpu_count() or 1
    return f"{cores} CPU core{'s' * (cores > 1)} ({platform.machine()})"
