"""How a command ends: an exit code, and one line for what the user can mend.

A :class:`~reflow.errors.UserError` is the user's to mend, and so is what the system refuses (no room, no rights).
Anything else is a bug of ours, and asks to be reported. SIGTERM, SIGUSR1 and SIGUSR2 end a command as Ctrl-C does,
each with the code that shells expect: 128 and its number. By it a scheduler's script knows that there is more to do;
no command asks to be requeued itself, and Lightning, which would by SIGUSR1, leaves alone a signal that is taken.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

from reflow.errors import UserError
from reflow.notices import speaks
from reflow.versions import versions_here

CANNOT_RUN, BUG = 2, 70
"""Exit codes: the user has to mend something, we have to."""

STOPPING = (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2)
"""Signals beside Ctrl-C (SIGINT) that tell a command to stop: a scheduler's, as a rule."""

_WAYS_OUT = {
    errno.ENOSPC: "make room there, or choose another folder (run_dir=...)",
    errno.EDQUOT: "make room in your quota, or choose another folder (run_dir=...)",
    errno.EFBIG: "the file system or a limit (ulimit -f) allows no larger file; choose another folder (run_dir=...)",
    errno.EACCES: "give yourself the rights, or choose another folder",
    errno.EPERM: "give yourself the rights, or choose another folder",
    errno.EROFS: "choose another folder (run_dir=...)",
    errno.ENAMETOOLONG: "give a shorter name (run_dir=..., name=...)",
    errno.EMFILE: "allow more open files (ulimit -n)",
    errno.EIO: "the disk, or the network behind it, is at fault",
}


class Stopped(BaseException):
    """A signal came; its notes say where the same command goes on. No error, so that nobody takes it for one.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.signal = signal.Signals(number)

    def __str__(self) -> str:
        words = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
        said = words.get(self.signal, f"stopped by {self.signal.name}")
        return "; ".join([said, *getattr(self, "__notes__", ["the same command goes on"])])


def document_of(error: BaseException, line: str | None = None) -> dict[str, Any]:
    """What machines are told of an error; an exception may bring a ``document`` with more."""
    code = CANNOT_RUN if in_words(error) is not None else BUG
    return {"exit_code": code, "error": line or str(error)} | getattr(error, "document", {})


def in_words(error: BaseException) -> str | None:
    """One line about what the user can mend, or None for a bug."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno in _WAYS_OUT:
        where = f"{error.filename}: " if error.filename else ""
        return f"{where}{error.strerror}; {_WAYS_OUT[error.errno]}"
    return None


@contextlib.contextmanager
def ending(
    explain: Callable[[BaseException], str | None], *, as_json: bool = False, full: bool = False
) -> Iterator[None]:
    """Turns exceptions into an exit code and words on the standard error.

    Args:
        explain: what the user can mend in an exception, in one line; None for a bug.
        as_json: also print one JSON document on the standard output.
        full: let exceptions through, with their tracebacks.
    """
    try:
        with _heeding_signals():
            yield
    except (KeyboardInterrupt, Stopped) as stop:
        stopped = stop if isinstance(stop, Stopped) else _noted(Stopped(signal.SIGINT), stop)
        if speaks():
            print(stopped, file=sys.stderr, flush=True)
        raise SystemExit(128 + stopped.signal) from stop
    except Exception as error:
        if full:
            raise
        line = explain(error)
        if line is not None:
            print(f"error: {line}", file=sys.stderr)
        else:
            traceback.print_exception(error)
            print(_report(error), file=sys.stderr)
        code = CANNOT_RUN if line is not None else BUG
        if as_json:
            said = line or f"bug: {type(error).__name__}: {error}"
            print(json.dumps(document_of(error, said) | {"exit_code": code, "error": said}, indent=2))
        raise SystemExit(code) from error


def _noted(stop: Stopped, like: BaseException) -> Stopped:
    for note in getattr(like, "__notes__", []):
        stop.add_note(note)
    return stop


@contextlib.contextmanager
def _heeding_signals() -> Iterator[None]:
    """In here the signals raise :class:`Stopped`, but for those that somebody else has taken.

    A process forked off ends as processes do.
    """
    mine = threading.current_thread() is threading.main_thread()
    heeded = [number for number in STOPPING if mine and signal.getsignal(number) == signal.SIG_DFL]
    owner = os.getpid()

    def heed(number: int, frame: object) -> None:
        if os.getpid() == owner:
            raise Stopped(number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in heeded:
        signal.signal(number, heed)
    try:
        yield
    finally:
        for number in heeded:
            signal.signal(number, signal.SIG_DFL)


def _report(error: Exception) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in versions_here().items())
    return (
        f"bug: {type(error).__name__}; it should not have come to this. Please report it with the lines above, the "
        f"command\n  {shlex.join(sys.argv)}\nand these versions: {versions}, {platform.platform()}"
    )
