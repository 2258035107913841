"""Files that are the old one or the new one, whenever the power goes; and JSON in them."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from reflow.errors import MissingFileError, UserError

LARGEST = 2**28
"""Bytes of a text that is read; the largest honest one is a tokenizer's, of some 2**25."""


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
        with as_os_error():
            write(staged)
        flush(staged)
        os.replace(staged, path)
        flush(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            staged.unlink(missing_ok=True)
        raise UnwritableError(
            f"{path.name} cannot be written to {path.parent} ({error.strerror or error}); choose another folder, or "
            "make room and rights there"
        ) from error
    return path


def flush(path: Path) -> None:
    """Brings a file, or the names in a folder, to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sha256(path: Path) -> str:
    """Checksum of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@contextlib.contextmanager
def as_os_error() -> Iterator[None]:
    """In here what the system refuses (no room, no rights) is an OSError, whatever a library makes of it.

    Torch's writer raises a RuntimeError while it handles the file's own; safetensors has the number in its words.
    """
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        if isinstance(error.__context__, OSError):
            raise error.__context__ from error
        if (found := re.search(r"\(os error (\d+)\)", str(error))) is not None:
            number = int(found[1])
            raise OSError(number, os.strerror(number)) from error
        raise


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
    return metrics_in(read_object(path), path)


def metrics_in(content: object, path: Path) -> dict[str, float]:
    """Flat figures as JSON holds them; nan where one is null.

    Raises:
        NotJSONError: there are other things than names and finite numbers; names ``path`` and the first of them.
    """
    if not isinstance(content, dict):
        raise NotJSONError(f"{path} holds no names and numbers; make or copy it anew")
    for name, value in content.items():
        if value is not None and not _is_figure(value):
            raise NotJSONError(
                f"{path} holds no names and numbers: {name} is {str(value)[:40]!r}; make or copy it anew"
            )
    return {str(name): math.nan if value is None else float(value) for name, value in content.items()}


def read_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds that is an object of names and values.

    Raises:
        MissingFileError: there is none.
        NotJSONError: names the file.
    """
    content = read_json(path)
    if not isinstance(content, dict):
        raise NotJSONError(f"{path} holds a {type(content).__name__}; allowed: an object of names and values")
    return content


def read_json(path: Path) -> Any:
    """What a JSON file holds.

    Raises:
        MissingFileError: there is none.
        NotJSONError: names the file.
    """
    return json_in(read_text(path), path)


def json_in(text: str | bytes, path: Path | str) -> Any:
    """What a text holds that came from ``path``.

    Raises:
        NotJSONError: it is none, is nested beyond what can be read, or holds what nobody can write again.
    """
    try:
        content = json.loads(text)
        if "\\ud" in str(text).lower():  # half a letter is no text: it could not be written again
            json.dumps(content, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        why = " ".join(str(error).split())[:200]
        raise NotJSONError(f"{path} is no JSON ({why}); it may be cut short: make or copy it anew") from error
    return content


def read_text(path: Path) -> str:
    """The text of a file, of no more than :data:`LARGEST` bytes.

    Raises:
        MissingFileError: there is none.
        NotJSONError: it is no file, larger, or no text.
    """
    try:
        with open(path, "rb", opener=_at_once) as file:
            state = os.fstat(file.fileno())
            if not stat.S_ISREG(state.st_mode) or state.st_size > LARGEST:
                raise NotJSONError(
                    f"{path} is no file of at most {LARGEST >> 20} MiB, as this kind of file is; copy it anew"
                )
            return file.read(LARGEST).decode()
    except FileNotFoundError as error:
        raise MissingFileError(f"{path} is missing; make or copy it anew") from error
    except IsADirectoryError as error:
        raise NotJSONError(f"{path} is a folder, where a file is expected") from error
    except UnicodeDecodeError as error:
        raise NotJSONError(
            f"{path} is no text ({error}); it may be cut short: make or copy it anew"
        ) from error


def _at_once(path: str, flags: int) -> int:
    """Opens without waiting for somebody to write into a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _is_figure(value: object) -> bool:
    try:
        return isinstance(value, int | float) and math.isfinite(value)
    except OverflowError:  # a whole number that no float is as large as
        return False
