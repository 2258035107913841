"""The configuration that a command left in the folder of its results, resolved when it was saved."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import yaml

from reflow.errors import UserError
from reflow.files import read_text
from reflow.reports.folder import CONFIGURATION


class _Plain(yaml.SafeLoader):
    """PyYAML's safe loader without aliases, a few of which stand for more values than there is memory."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases, which no command writes")
        return super().compose_node(parent, index)


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
        config = yaml.load(read_text(path), _Plain)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read ({why}); leave {folder} out of {key}") from error
    if not isinstance(config, dict) or not set(keys) <= config.keys():
        raise UserError(f"{path} is no configuration of {command}; leave {folder} out of {key}")
    return config


def front_matter(card: Path) -> dict[str, Any]:
    """What stands between the two lines ``---`` at the head of a card; empty where that cannot be read."""
    try:
        text = read_text(card)
        head, found = text.partition("\n---")[::2] if text.startswith("---") else ("", "")
        content = yaml.load(head.removeprefix("---"), _Plain) if found else None
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    return content if isinstance(content, dict) else {}


def at(config: Mapping[str, Any], key: str) -> Any:
    """A value of a saved configuration; None where there is no such key."""
    found: Any = config
    for part in key.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
