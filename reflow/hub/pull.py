"""Files of a repository on the hub, downloaded once and then cached."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from huggingface_hub import snapshot_download

from reflow.hub.repository import Repository

_COMMIT = re.compile(r"[0-9a-f]{40}")


def pull(repository: Repository, patterns: Collection[str]) -> Path:
    """The folder with a repository's files in the cache.

    Args:
        repository: at its revision; a commit that was pulled before is not asked for again.
        patterns: of the files that are wanted.

    Raises:
        HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError: the hub does not give it, and it is not
            in the cache (`reflow.hub.refusal` has the words).
    """
    return Path(
        snapshot_download(
            repository.repo_id,
            revision=repository.revision,
            allow_patterns=list(patterns),
            library_name="reflow",
        )
    )


def commit_of(folder: Path) -> str | None:
    """Which commit a folder in the hub's cache is; None for any other folder."""
    parts = folder.parts
    inside = [parts[at + 1] for at, part in enumerate(parts[:-1]) if part == "snapshots"]
    return next((name for name in reversed(inside) if _COMMIT.fullmatch(name)), None)
