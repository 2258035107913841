"""Files that are the old one or the new one, whenever the power goes; and JSON in them."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from reflow.errors import UserError


class UnwritableError(UserError):
    """A file cannot be written where it was to go."""


class NotJSONError(UserError):
    """A file is no JSON."""


def replace_file(path: Path, write: Callable[[Path], object], *, unique: str = "") -> Path:
    """Lets ``write`` make a file beside ``path``, flushes it to disk, then renames it into place.

    Args:
        path: of the file; its folder is made where it is missing.
        write: writes the file it is given.
        unique: goes into the name of the file beside, where several processes may write the same ``path``.

    Returns:
        The path.

    Raises:
        UnwritableError: names the folder.
    """
    staged = path.with_name(f".{path.name}{unique and '.'}{unique}.partial")
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


def write_json(path: Path, content: object) -> Path:
    """`replace_file` for indented JSON."""
    return replace_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def json_of(metrics: Mapping[str, float]) -> dict[str, float | None]:
    """Flat figures by name, sorted, as JSON can hold them: null for one that is not finite."""
    return {name: value if math.isfinite(value) else None for name, value in sorted(metrics.items())}


def write_metrics(path: Path, metrics: Mapping[str, float]) -> list[str]:
    """Writes flat figures; null stands for one that is not finite, for JSON has no word for it.

    Returns:
        The names of those.
    """
    content = json_of(metrics)
    write_json(path, content)
    return [name for name, value in content.items() if value is None]


def read_metrics(path: Path) -> dict[str, float]:
    """What `write_metrics` wrote; nan where it is null.

    Raises:
        MissingFileError: there is none.
        NotJSONError: it is no JSON, or holds no names and numbers.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise NotJSONError(
            f"{path} holds a {type(content).__name__}; allowed: an object of names and numbers"
        )
    try:
        return {str(name): math.nan if value is None else float(value) for name, value in content.items()}
    except (TypeError, ValueError) as error:
        raise NotJSONError(f"{path} holds no names and numbers; make or copy it anew") from error


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        MissingFileError: there is none.
        NotJSONError: names the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotJSONError(
            f"{path} is no JSON ({error}); it may be cut short: make or copy it anew"
        ) from error
