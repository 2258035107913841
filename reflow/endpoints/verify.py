"""Is everything in a pair cache what was written? Every shard is read whole.

Left out: whether the numbers are right, which only the teacher could say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import safe_open

from reflow.endpoints.layout import PRECISIONS, Layout, shard_file
from reflow.endpoints.manifest import Manifest
from reflow.endpoints.shards import inspect


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
    """Reads every shard of a cache.

    Args:
        folder: the cache.
        manifest: its manifest.

    Yields:
        What is wrong, shard by shard; nothing where all is well.
    """
    for name in manifest.layout.folders:
        for shard in range(manifest.layout.num_shards):
            problem = verify_shard(folder, manifest, name, shard)
            if problem is not None:
                yield problem


def verify_shard(folder: Path, manifest: Manifest, name: str, shard: int) -> Problem | None:
    """Reads one shard: size, checksum, shapes, finite numbers.

    Args:
        folder: the cache.
        manifest: its manifest.
        name: of the kind of content, one of ``layout.folders``.
        shard: its number.
    """
    file = shard_file(name, shard)
    what = inspect(folder / file, manifest.layout.size(shard), manifest.checksums.get(file))
    what = what or _shape(folder / file, manifest, name)
    return None if what is None else Problem(file, what)


def _shape(file: Path, manifest: Manifest, name: str) -> str | None:
    with safe_open(file, "pt") as content:
        tensors = {key: content.get_tensor(key) for key in content.keys()}  # noqa: SIM118 (no mapping)
    if name in manifest.layout.stores:
        wanted = PRECISIONS[manifest.layout.stores[name]]
        kinds = {tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()}
        return None if kinds == {wanted} else f"it holds {kinds or 'no numbers'}, {wanted} belongs in it"
    expected = _endpoints(manifest, name)
    shapes = {key: tuple(tensor.shape[1:]) for key, tensor in tensors.items()}
    return (
        None if shapes == {"endpoint": expected} else f"it holds {shapes}, endpoint {expected} belongs in it"
    )


def _endpoints(manifest: Manifest, name: str) -> tuple[int, int, int]:
    first, stop = block_of(manifest.layout, name)
    return stop - first, manifest.identity.chunk_size, manifest.identity.max_action_dim


def block_of(layout: Layout, name: str) -> tuple[int, int]:
    """The draws in a folder of endpoints."""
    return layout.blocks[layout.folders.index(name)]
