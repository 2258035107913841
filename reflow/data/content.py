"""A fingerprint of what is in a data set's folder: whoever replaces a file there makes it another data set."""

from __future__ import annotations

import hashlib
from pathlib import Path

_END = 2**20  # bytes read in the beginning, the middle and the end of a video


def data_content(root: Path) -> str:
    """A fingerprint of a LeRobotDataset's folder.

    SHA-256 over name and content of ``meta/info.json``, the tables of tasks and episodes and every
    ``data/**/*.parquet``. Of a video (anything under ``videos/``) it takes name, size and the first, middle and last
    MiB: a change elsewhere that leaves the size alone passes unnoticed.

    Args:
        root: the folder that holds ``meta/`` and ``data/``.
    """
    digest = hashlib.sha256()
    tables = ("meta/info.json", "meta/tasks*", "meta/episodes/**/*.parquet", "data/**/*.parquet")
    wholes = sorted({file for pattern in tables for file in root.glob(pattern)})
    for file in (*wholes, *sorted(file for file in root.glob("videos/**/*") if file.is_file())):
        content = _whole(file) if file in wholes else _ends(file)
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + content)
    return digest.hexdigest()


def _whole(file: Path) -> bytes:
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
