"""Where the embedded default lies: a small trained teacher and a slice of its demonstrations."""

from __future__ import annotations

from pathlib import Path

_ASSETS = Path(__file__).parent / "assets"

TEACHER = _ASSETS / "teacher"
"""A ``pretrained_model`` folder; its card, README.md, says how it was made and what it can do."""

DATA = _ASSETS / "pick"
"""A LeRobotDataset v3."""

REPO_ID = "reflow/pick"
