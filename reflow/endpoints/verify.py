"""Is everything in a pair cache what was written? Every shard is read whole; ``reflow.pairs verify DIR`` asks it.

Left out: whether the numbers are right, which only the teacher could say; and mending, which takes the teacher, too
(``reflow.pairs ... repair=true``).
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from reflow.endpoints.layout import PRECISIONS, shard_file
from reflow.endpoints.manifest import Manifest
from reflow.endpoints.shards import inspect
from reflow.errors import UserError

WRONG, CANNOT_RUN = 1, 2


@dataclass(frozen=True)
class Problem:
    """A shard that is not what it should be.

    Attributes:
        file: its path inside the cache.
        what: is wrong with it.
    """

    file: str
    what: str


def verify(folder: Path, manifest: Manifest) -> Iterator[Problem]:
    """Reads every shard of a cache; gives what is wrong, nothing where all is well."""
    for name in manifest.layout.folders:
        for shard in range(manifest.layout.num_shards):
            if problem := verify_shard(folder, manifest, name, shard):
                yield problem


def verify_shard(folder: Path, manifest: Manifest, name: str, shard: int) -> Problem | None:
    """Reads one shard: size, checksum, shapes, finite numbers.

    Args:
        folder: the cache.
        manifest: its manifest.
        name: of the kind of content, one of ``layout.folders``.
        shard: its number.
    """

    def misfit(tensors: dict[str, Tensor]) -> str | None:
        if precision := manifest.layout.stores.get(name):
            wanted = PRECISIONS[precision]
            kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
            return None if kinds == {wanted} else f"it holds {kinds or 'no numbers'}, {wanted} belongs in it"
        first, stop = manifest.layout.block(name)
        expected = (stop - first, manifest.identity.chunk_size, manifest.identity.max_action_dim)
        shapes = {key: tuple(tensor.shape[1:]) for key, tensor in tensors.items()}
        fits = shapes == {"endpoint": expected}
        return None if fits else f"it holds {shapes}, endpoint {expected} belongs in it"

    file = shard_file(name, shard)
    what = inspect(folder / file, manifest.layout.size(shard), manifest.checksums.get(file), misfit)
    return None if what is None else Problem(file, what)


def verify_command(arguments: list[str]) -> int:
    """Reads every shard of a cache and prints what is wrong; needs no configuration for it.

    Args:
        arguments: the cache's folder.

    Returns:
        The exit code: 0 all is well, 1 something is missing or damaged, 2 there is no cache.
    """
    try:
        if len(arguments) != 1 or arguments[0].startswith("-"):
            raise UserError(
                f"verify takes one folder, it got {arguments}: python -m reflow.pairs verify DIR; to mend a "
                "cache: the command that made it with repair=true"
            )
        folder = Path(arguments[0]).expanduser()
        manifest = Manifest.read(folder, "verify ")
        count = 0
        for problem in verify(folder, manifest):
            count += 1
            print(f"{folder / problem.file}: {problem.what}")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return CANNOT_RUN
    files = len(list(manifest.layout.files))
    if count:
        print(f"{count} of {files} shards are missing or damaged; make them with")
        print(f"  {manifest.command} repair=true")
        return WRONG
    print(f"{folder}: {manifest.layout}; all {files} shards are as they were written")
    return 0
