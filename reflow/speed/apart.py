"""A module run in a process of its own, which knows nothing of this one's memory."""

from __future__ import annotations

import os
import subprocess
import sys

from reflow.errors import UserError


def run_apart(*arguments: str, what: str, advice: str, said: str = "") -> str:
    """Runs ``python -m``, without the network.

    Args:
        *arguments: the module and its arguments.
        what: it does, for the message.
        advice: what to do where it fails.
        said: its standard input.

    Returns:
        Its standard output.

    Raises:
        UserError: the process failed; its last words are in the message.
    """
    done = subprocess.run(
        [sys.executable, "-m", *arguments],
        input=said,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"HF_HUB_OFFLINE": "1"},
    )
    if done.returncode != 0:
        words = done.stderr.strip().splitlines() or ["no message; was it killed for want of memory?"]
        raise UserError(f"{what} failed with exit code {done.returncode}: {words[-1]} ({advice})")
    return done.stdout
