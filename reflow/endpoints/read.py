"""A pair cache to read from: endpoints, vision features and prefixes by (sample, draw), at random.

Opening reads the manifest alone. Shards are mapped into memory when first asked for, in each process for itself, so a
cache may be handed to loader workers, forked or spawned. Before that a shard's checksum is compared, once a process:
it costs one reading of what will be read anyway, and no run learns from a flipped bit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import takewhile
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError
from torch import Tensor

from reflow.endpoints.layout import block_folder, shard_file
from reflow.endpoints.manifest import Manifest
from reflow.endpoints.shards import CHANGED, joined, mapped
from reflow.errors import MissingFileError, UserError
from reflow.files import sha256

_MAPPED = 4096  # shards at once; the kernel allows some 65,000 mappings in a process


class PairCache:
    """Pairs, and what else was stored, of the observations of a data set.

    Args:
        path: the cache's folder.
        leave_out: stores that are not to be used although they may be there.

    Attributes:
        path: the cache's folder.
        manifest: what it says about itself.
        draws: endpoints that every observation has, those of draws ``0 ... draws - 1``.
        stores: ``vision``, ``prefix`` or both, as far as they are complete, with their precision.

    Raises:
        MissingFileError: there is no cache.
        UserError: it is damaged or not yet complete.
    """

    def __init__(self, path: str | Path, leave_out: Collection[str] = ()) -> None:
        self.path = Path(path).expanduser().absolute()
        self.manifest = Manifest.read(self.path)
        layout, complete = self.manifest.layout, self.manifest.complete
        blocks = tuple(takewhile(lambda block: block_folder(block) in complete, layout.blocks))
        if not blocks:
            raise UserError(
                f"pairs.path={path} is not complete yet: shards are missing; the command that makes it goes on "
                f"where it was stopped:\n  {self.manifest.command}"
            )
        self.layout = replace(layout, blocks=blocks)
        self.draws = self.layout.draws
        self.stores = {
            name: how for name, how in layout.stores.items() if name in complete and name not in leave_out
        }
        self._mapped: dict[str, dict[str, Tensor]] = {}
        self._sound: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_mapped": {}}

    def endpoints(self, sample: Int[Tensor, " b"], draw: Int[Tensor, "b k"]) -> Float[Tensor, "b k h d"]:
        """Where the teacher's integration of these noises ended, float32 at native width.

        Args:
            sample: identities of the observations.
            draw: identities of their noises, each below ``draws``.

        Raises:
            UserError: it does not hold such an observation or draw.
            MissingFileError: a shard is missing or has been cut.
        """
        if draw.numel() and int(draw.max()) >= self.draws:
            raise UserError(
                f"draw {int(draw.max())} of an observation is asked for, {self.path} holds {self.draws} of each; "
                f"meet those again and again {self.ways_to(int(draw.max()) + 1)}"
            )
        identity = self.manifest.identity
        out = torch.empty(*draw.shape, identity.chunk_size, identity.max_action_dim)
        for shard, members, rows in self._groups(sample):
            its = draw[members]
            for first, stop in self.layout.blocks:
                held = (its >= first) & (its < stop)
                if not held.any():
                    continue
                at, column = held.nonzero(as_tuple=True)
                endpoint = self._shard(block_folder((first, stop)), shard)["endpoint"]
                out[members[at], column] = endpoint[rows[at], its[at, column] - first]
        return out

    def ways_to(self, draws: int) -> str:
        """What to do where a run asks for so many draws of each observation, and they are not here."""
        return (
            f"(objective.draw_pool={self.draws}), or add more: python -m reflow.pairs draws={draws}, with the "
            "settings that made it"
        )

    def stored(self, name: str, sample: Int[Tensor, " b"]) -> dict[str, Tensor]:
        """What else is kept of these observations.

        Args:
            name: one of ``stores``: vision features or packed contexts (:class:`reflow.policies.StorablePrefix`).
            sample: identities of the observations.

        Raises:
            UserError: as :meth:`endpoints`.
        """
        groups = [(members, rows, self._shard(name, shard)) for shard, members, rows in self._groups(sample)]
        order = torch.cat([members for members, _, _ in groups]).argsort()
        return {
            key: joined([tensors[key][rows] for _, rows, tensors in groups])[order] for key in groups[0][2]
        }

    def _groups(self, sample: Tensor) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The observations by shard: its number, their places in the batch, their rows in the shard."""
        places = self.layout.samples.places(sample)
        if (places < 0).any():
            missing = sample[places < 0].tolist()
            raise UserError(
                f"samples {missing} are not in {self.path}; make a cache of this run's episodes: "
                "python -m reflow.pairs"
            )
        shards = places // self.layout.samples_per_shard
        for shard in shards.unique().tolist():
            members = (shards == shard).nonzero()[:, 0]
            yield shard, members, places[members] % self.layout.samples_per_shard

    def _shard(self, folder: str, shard: int) -> dict[str, Tensor]:
        name = shard_file(folder, shard)
        if name not in self._mapped:
            if len(self._mapped) >= _MAPPED:
                self._mapped.clear()
            self._mapped[name] = self._map(name)
        return self._mapped[name]

    def _map(self, name: str) -> dict[str, Tensor]:
        file, seal = self.path / name, self.manifest.checksums[name]
        try:
            there = file.stat().st_size
            if there != seal.bytes:
                what = f"has {there} bytes instead of {seal.bytes}"
            elif name in self._sound or sha256(file) == seal.sha256:
                self._sound.add(name)
                return mapped(file)
            else:
                what = f"is damaged: {CHANGED}"
        except OSError:
            what = "is missing"
        except SafetensorError as error:
            what = f"cannot be read ({error})"
        raise MissingFileError(
            f"shard {file} {what}; make it anew with\n  {self.manifest.command} repair=true"
        )
