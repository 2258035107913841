"""What filling a pair cache will take, told before it begins: disk by arithmetic, time by one sub-batch.

Left out: filling itself (``reflow.endpoints.fill``).
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch

from reflow.endpoints import Work, shard_bytes
from reflow.endpoints.fill import FillPairs, Tensors, computing
from reflow.endpoints.layout import Layout, block_folder
from reflow.errors import UserError
from reflow.words import duration_words, size_words


@dataclass(frozen=True)
class Cost:
    """What is still to be done.

    Attributes:
        shards: shards of which something is missing.
        bytes: disk that this will take.
        exact: nothing about ``bytes`` is estimated; the length of stored prefixes is, from one sub-batch.
        seconds: time that it will take, about.
    """

    shards: int
    bytes: int
    exact: bool
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.shards} shards to make: {'' if self.exact else 'about '}{size_words(self.bytes)} "
            f"({self.bytes:,} bytes) of disk, about {duration_words(self.seconds)}"
        )


def measure_cost(trainer: L.Trainer, module: FillPairs) -> Cost:
    """Makes one sub-batch, with as many draws as are integrated at once, and estimates the rest from it."""
    if not module.work:
        return Cost(0, 0, True, 0.0)
    layout, first = module.layout, module.work[0]
    portion = module.portions_of([first])[0]
    batch, reading = _timed(lambda: next(iter(module.data.portions([portion.samples]))))
    device = trainer.strategy.root_device
    batch = module.transfer_batch_to_device(batch, device, 0)
    stored = [name for name in first.folders if name in layout.stores]
    blocks = [block for block in layout.blocks if block_folder(block) in first.folders]
    with computing(trainer, module):
        if device.type == "cuda":
            module.teacher.encode(batch)  # to warm up
        made, encoding = _timed(lambda: module.make(batch, portion.samples, stored))
        integrating = 0.0
        if blocks:
            context, once = _timed(lambda: module.teacher.encode(batch))
            encoding = max(encoding, once)
            start, stop = blocks[0]
            at_once = min(layout.draws_at_once, stop - start)
            _, integrating = _timed(lambda: module.walk(context, portion.samples, start, start + at_once))
            integrating *= sum(stop - start for start, stop in blocks) / at_once
    reading /= max(1, module.data.num_workers)
    observations = sum(layout.size(work.shard) for work in module.work)  # all like those of the first shard
    return Cost(
        len(module.work),
        sum(_work_bytes(layout, work, made, module) for work in module.work),
        "prefix" not in stored,
        observations / len(portion.samples) * (reading + encoding + integrating) / trainer.world_size,
    )


def check_disk(folder: Path, cost: Cost, free: int | None = None) -> None:
    """Refuses what does not fit on the disk.

    Args:
        folder: where it goes; it need not be there yet.
        cost: what it takes.
        free: bytes that are free there; None asks the file system.

    Raises:
        UserError: with the ways out.
    """
    if free is None:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
    if cost.bytes > free:
        raise UserError(
            f"the cache takes {size_words(cost.bytes)} more, {folder} has {size_words(free)} free; put it on "
            "another disk (run_dir=...), store less (store=null or store=vision, store_precision=bfloat16), or ask "
            "for fewer draws (draws=...) or episodes (data.episodes=...)"
        )


def _timed[T](work: Callable[[], T]) -> tuple[T, float]:
    start = time.perf_counter()
    return work(), time.perf_counter() - start


def _work_bytes(layout: Layout, work: Work, made: dict[str, Tensors], module: FillPairs) -> int:
    size, space = layout.size(work.shard), module.rule.space
    total = 0
    for name in work.folders:
        if name in layout.stores:
            like = {
                key: tensor[:1].to("meta").expand(size, *tensor.shape[1:])
                for key, tensor in made[name].items()
            }
        else:
            first, stop = layout.block(name)
            like = {
                "endpoint": torch.empty(
                    size, stop - first, space.chunk_size, space.max_action_dim, device="meta"
                )
            }
        total += shard_bytes(like)
    return total
