"""What a robot was told to do, a line of JSON each, written at once: whoever stops it loses nothing."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path


def write_line(file: str | None, what: str, values: Iterable[float]) -> None:
    """Adds a line.

    Args:
        file: where to; None for nowhere.
        what: ``observation`` (the joints that were read) or ``action`` (those that were asked for).
        values: of the joints.
    """
    if file is not None:
        line = json.dumps({"what": what, "time": time.time(), "values": [float(value) for value in values]})
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.write(line + "\n")
