"""One process at a time in a folder. The system lets go of a lock when its process ends, however that ends."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from reflow.errors import UserError
from reflow.notices import warn

LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)


class InUseError(UserError, BlockingIOError):
    """Another process writes there."""


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else works in a run's folder while this goes on; what it made and is left empty is removed again.

    Args:
        folder: made where it is missing.

    Raises:
        InUseError: another process is at it; says which.
        UserError: nothing can be written there.
    """
    made = [one for one in (folder, *folder.parents) if not one.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = open(folder / LOCK, "a+", encoding="utf-8")  # noqa: SIM115 (it is closed below)
    except OSError as error:
        raise UserError(
            f"run_dir={folder}: nothing can be written there ({error.strerror}); make room and rights there, or "
            "choose another folder (run_dir=DIR)"
        ) from error
    with file:
        _hold(file, folder)
        try:
            yield
        finally:
            if [entry.name for entry in folder.iterdir()] == [LOCK]:
                (folder / LOCK).unlink()
                with contextlib.suppress(OSError):  # one that is in use by now
                    for one in made or [folder]:
                        one.rmdir()


def _hold(file: IO[str], folder: Path) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # flock would live on in a dead run's data workers
    except BlockingIOError as error:
        file.seek(0)
        who = file.read().strip() or "another process"
        raise InUseError(
            f"run_dir={folder} is in use by {who}; wait until that is done, end it, or give this run another folder "
            "(run_dir=... or name=...)"
        ) from error
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warn(
            f"{folder} cannot be locked ({error.strerror}); see to it that one process at a time works there"
        )
    file.truncate(0)
    file.write(f"process {os.getpid()} on {socket.gethostname()}\n")
    file.flush()
