"""What was concluded about the user's input, said once: lines on the standard error that change no exit code."""

from __future__ import annotations

import os
import sys

_said: set[str] = set()


def note(line: str) -> None:
    """Says what was done about something odd; once a process, and by one process of several.

    Args:
        line: what was found, and what was concluded, in one line.
    """
    _say(f"note: {line}")


def warn(line: str) -> None:
    """Says what is probably wrong, and what to do about it; likewise."""
    _say(f"warning: {line}")


def speaks() -> bool:
    """Whether this is the one of several processes (Lightning's ranks, SLURM's tasks) that says what concerns all."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_PROCID", "0")) == "0"


def _say(line: str) -> None:
    if line in _said or not speaks():
        return
    _said.add(line)
    print(line, file=sys.stderr, flush=True)
