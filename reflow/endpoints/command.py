"""``reflow.pairs verify DIR``: looks over a cache, and needs no configuration for it.

Left out: mending, which takes the teacher (``reflow.pairs ... repair=true``).
"""

from __future__ import annotations

import sys
from pathlib import Path

from reflow.endpoints.manifest import Manifest
from reflow.endpoints.verify import verify

WRONG, CANNOT_RUN = 1, 2


def verify_command(arguments: list[str]) -> int:
    """Reads every shard of a cache and prints what is wrong.

    Args:
        arguments: the cache's folder.

    Returns:
        The exit code: 0 all is well, 1 something is missing or damaged, 2 there is no cache.
    """
    try:
        if len(arguments) != 1 or arguments[0].startswith("-"):
            raise ValueError(
                f"verify takes one folder, it got {arguments}: python -m reflow.pairs verify DIR; to mend a "
                "cache: the command that made it with repair=true"
            )
        folder = Path(arguments[0]).expanduser()
        manifest = Manifest.read(folder, "verify ")
        count = 0
        for problem in verify(folder, manifest):
            count += 1
            print(f"{folder / problem.file}: {problem.what}")
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT_RUN
    files = len(list(manifest.layout.files))
    if count:
        print(f"{count} of {files} shards are missing or damaged; make them with")
        print(f"  {manifest.command} repair=true")
        return WRONG
    print(f"{folder}: {manifest.layout}; all {files} shards are as they were written")
    return 0
