"""Where the embedded default lies: small trained policies and a slice of demonstrations."""

from __future__ import annotations

from pathlib import Path

from reflow.errors import MissingFileError

ASSETS = Path(__file__).parent / "assets"

TEACHER = ASSETS / "teacher"
"""A ``pretrained_model`` folder; its card, README.md, says how it was made and what it can do."""

DATA = ASSETS / "pick"
"""A LeRobotDataset v3."""

REPO_ID = "reflow/pick"

LICENCE = "apache-2.0"
"""Of all of it, as of the package."""

PREFIX = "embedded/"
"""``embedded/NAME`` in a configuration is the policy NAME that comes with the package."""


def policy_path(path: str | None, default: Path = TEACHER) -> str | Path:
    """What a configured path means where policies that come with the package may be named.

    Args:
        path: a policy or run folder, a hub id, ``embedded/NAME``, or None.
        default: for None.

    Raises:
        MissingFileError: there is no such embedded policy.
    """
    if path is None:
        return default
    if not path.startswith(PREFIX):
        return path
    folder = ASSETS / path.removeprefix(PREFIX)
    if not (folder / "config.json").is_file():
        there = sorted(f"{PREFIX}{config.parent.name}" for config in ASSETS.glob("*/config.json"))
        raise MissingFileError(f"{path} does not come with the package; there are: {', '.join(there)}")
    return folder
