"""A command as others may read it: without the places of this machine, and without what only its user may know."""

from __future__ import annotations

import re
import shlex
from pathlib import PurePath

from reflow.hub import without_tokens

_SECRET = re.compile(r"token|secret|passw|credential|api_?key|auth", re.IGNORECASE)
_PATH = re.compile(r"(?<![\w.:/~-])(?:~|/)[^\s,\[\]{}'\"]*")
_SILENT = {"pretrained_model", "checkpoints", "last"}


def portable(command: str) -> str:
    """A command whose absolute paths are ``DIR/`` and their last telling part, and whose secrets are ``***``.

    Args:
        command: as a shell would take it; one that it would not is taken as words.
    """
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return shlex.join(map(_word, words))


def _word(word: str) -> str:
    key, equals, _ = word.partition("=")
    if equals and _SECRET.search(key):
        return f"{key}=***"
    return without_tokens(_PATH.sub(lambda found: _place(found[0]), word))


def _place(path: str) -> str:
    parts = [part for part in PurePath(path).parts if part not in (*_SILENT, "/", "~") and not part.isdigit()]
    return f"DIR/{parts[-1]}" if parts else "DIR"
