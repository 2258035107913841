"""A fingerprint of what is in a data set's folder: whoever replaces a file there makes it another data set."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection
from pathlib import Path

_END = 2**20  # bytes read in the beginning, the middle and the end of a video


def data_content(root: Path, files: Collection[Path] | None = None) -> str:
    """A fingerprint of a LeRobotDataset's folder, or of a part of it.

    SHA-256 over name and content of ``meta/info.json``, the tables of tasks and episodes and every
    ``data/**/*.parquet``. Of a video (anything under ``videos/``) it takes name, size and the first, middle and last
    MiB: a change elsewhere that leaves the size alone passes unnoticed.

    Args:
        root: the folder that holds ``meta/`` and ``data/``.
        files: the tables and videos that count beside ``meta/``; None for all that are there.
    """
    digest = hashlib.sha256()
    tables = ("meta/info.json", "meta/tasks*", "meta/episodes/**/*.parquet")
    if files is None:
        files = [
            *root.glob("data/**/*.parquet"),
            *(file for file in root.glob("videos/**/*") if file.is_file()),
        ]
    data, videos = (
        {file for file in files if file.is_relative_to(root / kind)} for kind in ("data", "videos")
    )
    wholes = sorted(data.union(*(root.glob(pattern) for pattern in tables)))
    contents = [*((file, _whole(file)) for file in wholes), *((file, _ends(file)) for file in sorted(videos))]
    for file, content in contents:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


def _whole(file: Path) -> bytes:
    state = file.stat()
    return _read_once(file, state.st_size, state.st_mtime_ns)


@functools.cache
def _read_once(file: Path, size: int, changed: int) -> bytes:
    """SHA-256 of a file; a run and its pair cache ask for the same large tables."""
    with open(file, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").digest()


def _ends(file: Path) -> bytes:
    size = file.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(file, "rb") as handle:
        for start in (0, max(0, size // 2 - _END // 2), max(0, size - _END)):
            handle.seek(start)
            digest.update(handle.read(_END))
    return digest.digest()
