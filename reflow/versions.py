"""Versions of what figures, and reports of bugs, depend on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import platform
from collections.abc import Iterable

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
