"""Files that are the old one or the new one, whenever the power goes; and folders that cannot be written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


class UnwritableError(ValueError):
    """A report cannot be written where it was to go."""


def replace_file(path: Path, write: Callable[[Path], object]) -> Path:
    """Lets ``write`` make a file beside ``path``, then puts it in its place.

    Args:
        path: of the file; its folder is made where it is missing.
        write: writes the file it is given.

    Returns:
        The path.

    Raises:
        UnwritableError: names the folder.
    """
    staged = path.with_name(f".{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(staged)
        with open(staged, "rb") as handle:
            os.fsync(handle.fileno())
        os.replace(staged, path)
    except OSError as error:
        raise UnwritableError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror or error}); choose another folder, or "
            "make room and rights there"
        ) from error
    return path


def replace_text(path: Path, text: str) -> Path:
    """`replace_file` for text."""
    return replace_file(path, lambda staged: staged.write_text(text, encoding="utf-8"))
