"""A cache of several data sets takes over what another holds of the first of them: new data cost only themselves.

A frame's identity is its number behind the frames of the data sets before its own, so that further sets leave it, its
noises and their endpoints what they are. What changes is the last shard of what was there, which is not full.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import torch

from reflow.endpoints.identity import Identity
from reflow.endpoints.layout import Layout, shard_file, sidecar
from reflow.endpoints.manifest import Manifest
from reflow.endpoints.shards import read_seal
from reflow.errors import UserError

_WORK = ("samples_per_shard", "batch_size", "draws_at_once", "threads")


def take_over(folder: Path, manifest: Manifest, smaller: Path, begins: Sequence[Identity]) -> int:
    """Takes over the shards that both caches have alike and that are not there yet.

    Args:
        folder: of the growing cache.
        manifest: of it.
        smaller: another cache.
        begins: what this cache would be of its first data set, of its first two, and so on.

    Returns:
        How many shards were taken over.

    Raises:
        MissingFileError: ``smaller`` is no cache.
        UserError: it is one of other data sets or pairs, or was made in other portions.
    """
    there = Manifest.read(smaller, "grown_from=")
    if there.identity not in begins:
        differences = "\n  ".join(there.identity.differences(begins[-1]))
        raise UserError(
            f"grown_from={smaller} holds other pairs than the first of these data sets have; beside the most that "
            f"could be:\n  {differences}\nThe first sets of data.mixture must be those it was made of, in that order"
        )
    for name in _WORK:
        old, new = getattr(there.layout, name), getattr(manifest.layout, name)
        if old != new:
            raise UserError(
                f"grown_from={smaller} was made with {name}={old}, this cache with {new}; make them alike"
            )
    manifest.write(folder)  # only now: bad input leaves no folder behind
    taken = 0
    for name in set(there.layout.folders) & set(manifest.layout.folders):
        if there.layout.stores.get(name) != manifest.layout.stores.get(name):
            continue  # in another precision
        for shard in _alike(there.layout, manifest.layout):
            source, target = (place / shard_file(name, shard) for place in (smaller, folder))
            if read_seal(source) is not None and read_seal(target) is None:
                target.parent.mkdir(parents=True, exist_ok=True)
                for file in (lambda path: path, sidecar):  # the sidecar says that the shard is whole
                    _link(file(source), file(target))
                taken += 1
    return taken


def _alike(one: Layout, other: Layout) -> list[int]:
    """Shards that hold the same samples in both."""
    ours, theirs = one.samples.numbers(), other.samples.numbers()
    size, number = one.samples_per_shard, min(one.num_shards, other.num_shards)
    parts = ((shard, slice(shard * size, (shard + 1) * size)) for shard in range(number))
    return [shard for shard, part in parts if torch.equal(ours[part], theirs[part])]


def _link(source: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)  # shards are never written into
    except OSError:  # another file system
        shutil.copyfile(source, target)
