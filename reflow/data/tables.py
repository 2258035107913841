"""Parquet files of a data set: read, or named in an error."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from reflow.errors import MissingFileError, UserError

_POINTER = b"version https://git-lfs"


def check_pointer(file: Path) -> None:
    """Refuses a pointer of git-lfs in the place of a file.

    Raises:
        MissingFileError: names the file and the command that brings what it points to.
    """
    with open(file, "rb") as handle:
        if handle.read(len(_POINTER)) == _POINTER:
            raise MissingFileError(
                f"{file} is a pointer of git-lfs, the content itself was not downloaded; in that folder: git lfs pull"
            )


def read_schema(file: Path) -> pa.Schema:
    """The columns of a parquet file.

    Raises:
        UserError: names the file.
    """
    check_pointer(file)
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def read_table(file: Path, columns: list[str]) -> pa.Table:
    """Columns of a parquet file.

    Raises:
        UserError: names the file, and the columns that it lacks.
    """
    if lacking := sorted(set(columns) - set(read_schema(file).names)):
        raise UserError(
            f"{file} has no column {', '.join(lacking)}, which meta/info.json promises; copy it anew"
        )
    try:
        return pq.read_table(file, columns=columns, partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(file, error) from error


def _damaged(file: Path, error: Exception) -> UserError:
    what = " ".join(str(error).split())[:200]
    return UserError(f"{file} cannot be read as parquet ({what}); it may be cut short: copy it anew")
