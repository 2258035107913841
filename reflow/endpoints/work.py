"""What of a cache is still to be made, shared out among processes that need not know of each other.

Left out: making it, which takes a teacher (``reflow.endpoints.fill``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from reflow.endpoints.layout import shard_file, sidecar
from reflow.endpoints.manifest import Manifest
from reflow.endpoints.shards import read_seal
from reflow.endpoints.verify import verify_shard
from reflow.errors import UserError


@dataclass(frozen=True)
class Part:
    """One of several equal shares of the shards, for processes that know nothing of each other.

    Attributes:
        number: 1 to ``of``.
        of: how many there are.
    """

    number: int = 1
    of: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Part:
        """``2/8`` is the second of eight; None is everything.

        Raises:
            UserError: it is no such thing.
        """
        if text is None:
            return cls()
        match = re.fullmatch(r"(\d+)/(\d+)", text)
        if match is None or not 1 <= int(match[1]) <= int(match[2]):
            raise UserError(
                f"part={text}; allowed: NUMBER/OF, as 1/8 to 8/8, or null; in a SLURM array of --array=1-8: "
                "'part=${oc.env:SLURM_ARRAY_TASK_ID}/8'"
            )
        return cls(int(match[1]), int(match[2]))

    def shards(self, manifest: Manifest) -> Iterator[tuple[int, str]]:
        """Number and kind of content of every shard in this share."""
        return product(range(self.number - 1, manifest.layout.num_shards, self.of), manifest.layout.folders)


@dataclass(frozen=True)
class Work:
    """A shard that is to be made.

    Attributes:
        shard: its number.
        folders: what of it is missing: blocks of draws, stores.
    """

    shard: int
    folders: tuple[str, ...]


def missing_work(folder: Path, manifest: Manifest, part: Part) -> list[Work]:
    """The shards of a part that are not there in full, told by their sidecars and sizes."""
    lacking: dict[int, list[str]] = {}
    for shard, name in part.shards(manifest):
        if read_seal(folder / shard_file(name, shard)) is None:
            lacking.setdefault(shard, []).append(name)
    return [Work(shard, tuple(names)) for shard, names in lacking.items()]


def drop_damaged(folder: Path, manifest: Manifest, part: Part) -> Iterator[str]:
    """Removes the shards of a part that are not what was written, to be made anew; says which and why."""
    for shard, name in part.shards(manifest):
        if problem := verify_shard(folder, manifest, name, shard):
            file = folder / problem.file
            sidecar(file).unlink(missing_ok=True)
            file.unlink(missing_ok=True)
            yield f"{problem.file}: {problem.what}"


def seal(folder: Path) -> Manifest:
    """Writes the checksums of what is complete into the manifest; whoever does it writes the same."""
    there = Manifest.read(folder)
    while (sealed := there.sealed(folder)) != there:
        sealed.write(folder)  # and once more: another process may have sealed more meanwhile
        there = Manifest.read(folder)
    return there
