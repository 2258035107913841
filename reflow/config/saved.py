"""The configuration that a command left in the folder of its results, resolved when it was saved."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from reflow.errors import UserError
from reflow.reports.folder import CONFIGURATION


def read_saved(folder: Path, keys: Collection[str], command: str, key: str) -> dict[str, Any]:
    """A saved configuration.

    Args:
        folder: of the results.
        keys: that it must have.
        command: that should have left it, ``reflow.train``.
        key: of the command that reads it, from which the folder may be left out.

    Raises:
        UserError: it cannot be read, or is no configuration of that command.
    """
    path = folder / CONFIGURATION
    try:
        config = yaml.safe_load(path.read_text())
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({why}); leave {folder} out of {key}") from error
    if not isinstance(config, dict) or not set(keys) <= config.keys():
        raise UserError(f"{path} is no configuration of {command}; leave {folder} out of {key}")
    return config
