"""Where a pair cache keeps what: pure arithmetic over samples, draws, shards and file names.

A shard is a fixed run of samples in ascending order, worked on in fixed sub-batches, so that what is in it does not
depend on which process made it. Left out: files themselves (``reflow.endpoints.shards``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reflow.errors import UserError
from reflow.typed import typed

STORES = ("vision", "prefix")
"""What may be stored beside the endpoints: vision features, encoded observations (`StorablePrefix`)."""

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
"""Precisions in which it may be stored; endpoints always are float32."""


_OBSERVATIONS, _FILES = 10**9, 10**7  # that a cache may have: what is beyond was not written by us


@dataclass(frozen=True)
class Samples:
    """An ascending set of sample identities, kept as runs.

    Attributes:
        runs: ``(first, stop)`` of each run, ascending and apart.
    """

    runs: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, numbers: Tensor) -> Samples:
        """The set of these identities, ``[n]``, in any order."""
        ordered = np.unique(numbers.numpy())  # ascending
        runs = np.split(ordered, np.flatnonzero(np.diff(ordered) != 1) + 1)
        return cls(tuple((int(run[0]), int(run[-1]) + 1) for run in runs if len(run)))

    def __len__(self) -> int:
        return sum(stop - first for first, stop in self.runs)

    def numbers(self) -> Tensor:
        """All identities, ascending, ``[n]``."""
        runs = [torch.arange(first, stop) for first, stop in self.runs]
        return torch.cat(runs) if runs else torch.empty(0, dtype=torch.long)

    def places(self, sample: Tensor) -> Tensor:
        """The place of each identity in the ascending order, -1 where it is none of them; as ``sample``, int64."""
        if not self.runs:
            return torch.full_like(sample, -1)
        runs = np.asarray(self.runs)
        before = np.concatenate([[0], np.cumsum(runs[:, 1] - runs[:, 0])[:-1]])
        numbers = sample.numpy()
        run = np.clip(np.searchsorted(runs[:, 0], numbers, side="right") - 1, 0, None)
        inside = (numbers >= runs[run, 0]) & (numbers < runs[run, 1])
        return torch.from_numpy(np.where(inside, numbers - runs[run, 0] + before[run], -1))


@dataclass(frozen=True)
class Layout:
    """What a cache is to hold, in which files, made in which portions.

    Attributes:
        samples: the observations.
        samples_per_shard: observations in one shard; the last may have fewer.
        batch_size: observations encoded at once. Part of the layout, for rounding depends on it.
        draws_at_once: draws integrated at once; likewise.
        blocks: ``(first, stop)`` of the draws in each folder of endpoints, without gaps from 0 on.
        stores: what else is kept, and in which precision: a name of ``STORES`` to one of ``PRECISIONS``.
        threads: of torch in each process; on a CPU rounding depends on it, too.

    Raises:
        UserError: a size below 1, runs or draws that are not in order, more files than a file system likes, or a
            store or precision that does not exist.
    """

    samples: Samples
    samples_per_shard: int
    batch_size: int
    draws_at_once: int
    blocks: tuple[tuple[int, int], ...]
    stores: Mapping[str, str] = field(default_factory=dict)
    threads: int = 1

    def __post_init__(self) -> None:
        for name in ("samples_per_shard", "batch_size", "draws_at_once", "threads"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} is {getattr(self, name)}; allowed: 1 or more")
        _check_order("samples", self.samples.runs)
        _check_order("blocks", self.blocks, gaps=False)
        if (files := self.num_shards * len(self.folders)) > _FILES or len(self.samples) > _OBSERVATIONS:
            raise UserError(
                f"{len(self.samples)} observations in {files} files; allowed: {_OBSERVATIONS} in {_FILES}, with more "
                "samples_per_shard as the case may be"
            )
        for name, precision in self.stores.items():
            if name not in STORES:
                raise UserError(f"store={name}; allowed: {', '.join(STORES)}, or null")
            if precision not in PRECISIONS:
                raise UserError(f"store_precision={precision}; allowed: {', '.join(PRECISIONS)}")

    def __str__(self) -> str:
        stores = "".join(f", {name} in {precision}" for name, precision in sorted(self.stores.items()))
        return f"{len(self.samples)} observations, {self.draws} draws of each{stores}"

    @property
    def draws(self) -> int:
        """Draws per observation."""
        return self.blocks[-1][1] if self.blocks else 0

    @property
    def num_shards(self) -> int:
        """Shards of each kind."""
        return -(-len(self.samples) // self.samples_per_shard)

    @property
    def folders(self) -> tuple[str, ...]:
        """Every kind of content: blocks of draws, then stores."""
        return (*map(block_folder, self.blocks), *sorted(self.stores))

    @property
    def files(self) -> Iterator[str]:
        """Every shard, as a path inside the cache."""
        return (shard_file(folder, shard) for folder in self.folders for shard in range(self.num_shards))

    def block(self, folder: str) -> tuple[int, int]:
        """The draws in a folder of endpoints."""
        return self.blocks[self.folders.index(folder)]

    def size(self, shard: int) -> int:
        """Observations in a shard."""
        return min(self.samples_per_shard, len(self.samples) - shard * self.samples_per_shard)

    def portions(self, shard: int) -> list[Tensor]:
        """Samples of each sub-batch of a shard, ``[b]``."""
        first = shard * self.samples_per_shard
        return list(self.samples.numbers()[first : first + self.size(shard)].split(self.batch_size))

    def extended(self, draws: int, stores: Mapping[str, str]) -> Layout:
        """This layout with more in it, if that is asked for; what is there stays where it is.

        Raises:
            UserError: a store is there in another precision.
        """
        for name, precision in stores.items():
            if self.stores.get(name, precision) != precision:
                raise UserError(
                    f"store_precision={precision}, but this cache holds {name} in {self.stores[name]}; keep that, or "
                    "make another cache (name=... or run_dir=...)"
                )
        more = ((self.draws, draws),) if draws > self.draws else ()
        return replace(self, blocks=self.blocks + more, stores={**self.stores, **stores})

    def as_json(self) -> dict[str, Any]:
        """Plain values, for the manifest."""
        return vars(self) | {"samples": self.samples.runs, "stores": dict(sorted(self.stores.items()))}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Layout:
        """What :meth:`as_json` gave."""
        return typed(cls, cls.plain(values))

    @staticmethod
    def plain(values: Any) -> Any:
        """What :meth:`as_json` gave, with the fields of the dataclasses."""
        return values | {"samples": {"runs": values.get("samples")}} if isinstance(values, dict) else values


def _check_order(name: str, runs: Sequence[tuple[int, int]], *, gaps: bool = True) -> None:
    """Refuses runs of numbers that are empty, negative, beyond int64, or not one behind the other."""
    before = 0
    for first, stop in runs:
        if not before <= first < stop < 2**62 or (first > before and not gaps):
            raise UserError(
                f"{name} has the run [{first}, {stop}] behind {before}; allowed: ascending and apart, draws from 0 on"
            )
        before = stop


def block_folder(block: tuple[int, int]) -> str:
    """Name of the folder of some draws' endpoints."""
    return f"draws-{block[0]:05d}-{block[1]:05d}"


def shard_file(folder: str, shard: int) -> str:
    """Path of a shard inside the cache."""
    return f"{folder}/{shard:05d}.safetensors"


def sidecar(path: Path) -> Path:
    """Path of what says that a shard is complete."""
    return path.with_suffix(".json")
