"""LeRobot policies that cannot be distilled, each with the reason."""

from __future__ import annotations

REFUSED: dict[str, str] = {}
"""By LeRobot's type name; a reason reads on after "cannot be distilled:"."""
