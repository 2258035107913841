"""What filling a pair cache will take, told before it begins: disk by arithmetic, time by one sub-batch.

Left out: filling itself (``reflow.endpoints.fill``).
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import lightning as L
import torch

from reflow.endpoints import Shape, Work, shard_bytes
from reflow.endpoints.fill import FillPairs, Tensors, computing
from reflow.endpoints.layout import Layout, block_folder


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
            f"{self.shards} shards to make: {'' if self.exact else 'about '}{format_bytes(self.bytes)} "
            f"({self.bytes:,} bytes) of disk, about {_duration(self.seconds)}"
        )


def measure_cost(trainer: L.Trainer, module: FillPairs) -> Cost:
    """Makes one sub-batch, with as many draws as are walked at once, and reckons the rest from it."""
    if not module.work:
        return Cost(0, 0, True, 0.0)
    layout, first = module.layout, module.work[0]
    portion = module.portions_of([first])[0]
    start = time.perf_counter()
    batch = next(iter(module.data.portions([portion.samples])))
    reading = time.perf_counter() - start
    device = trainer.strategy.root_device
    batch = module.transfer_batch_to_device(batch, device, 0)
    looked = [name for name in first.folders if name in layout.stores]
    blocks = [block for block in layout.blocks if block_folder(block) in first.folders]
    with computing(trainer, module):
        if device.type == "cuda":
            module.make(batch, portion.samples, looked or ["prefix"])  # to warm up
        start = time.perf_counter()
        made = module.make(batch, portion.samples, looked)
        looking = time.perf_counter() - start
        walking = 0.0
        if blocks:
            start = time.perf_counter()
            context = module.teacher.encode(batch)
            encoding = time.perf_counter() - start
            looking = max(looking, encoding)
            at_once = min(layout.draws_at_once, blocks[0][1] - blocks[0][0])
            start = time.perf_counter()
            module.walk(context, portion.samples, blocks[0][0], blocks[0][0] + at_once)
            walking = time.perf_counter() - start
            walking *= sum(stop - start for start, stop in blocks) / at_once
    reading = reading if module.data.num_workers == 0 else reading / module.data.num_workers
    share = sum(layout.size(work.shard) for work in module.work) / len(
        portion.samples
    )  # like the first shard
    return Cost(
        len(module.work),
        sum(_work_bytes(layout, work, made, module) for work in module.work),
        "prefix" not in looked,
        share * (reading + looking + walking) / trainer.world_size,
    )


def check_disk(folder: Path, cost: Cost, free: int | None = None) -> None:
    """Refuses what does not fit on the disk.

    Args:
        folder: where it goes; it need not be there yet.
        cost: what it takes.
        free: bytes that are free there; None asks the file system.

    Raises:
        ValueError: with the ways out.
    """
    if free is None:
        there = next(path for path in (folder, *folder.parents) if path.exists())
        free = shutil.disk_usage(there).free
    if cost.bytes > free:
        raise ValueError(
            f"the cache takes {format_bytes(cost.bytes)} more, {folder} has {format_bytes(free)} free; put it on "
            "another disk (run_dir=...), store less (store=null or store=vision, store_precision=bfloat16), or ask for "
            "fewer draws (draws=...) or episodes (data.episodes=...)"
        )


def _work_bytes(layout: Layout, work: Work, made: dict[str, Tensors], module: FillPairs) -> int:
    size, space = layout.size(work.shard), module.rule.space
    total = 0
    for name in work.folders:
        if name in layout.stores:
            shapes = {
                key: Shape(tensor.dtype, (size, *tensor.shape[1:])) for key, tensor in made[name].items()
            }
        else:
            first, stop = layout.blocks[layout.folders.index(name)]
            endpoint = (size, stop - first, space.chunk_size, space.max_action_dim)
            shapes = {"endpoint": Shape(torch.float32, endpoint)}
        total += shard_bytes(shapes)
    return total


def format_bytes(count: int) -> str:
    """``1.5 GB``, in powers of ten."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
