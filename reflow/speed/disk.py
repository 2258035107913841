"""The pair cache that contenders without a live teacher read, filled by ``python -m reflow.pairs`` as any other."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reflow.endpoints import PairCache
from reflow.speed.apart import run_apart
from reflow.speed.geometry import Place


@dataclass(frozen=True)
class PairsOnDisk:
    """A filled cache.

    Attributes:
        path: its folder.
        draws: endpoints of every training frame.
        seconds: that filling it took, with the start of the process that did.
        bytes: on disk.
    """

    path: str
    draws: int
    seconds: float
    bytes: int

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {key: value for key, value in asdict(self).items() if key != "path"}

    def open(self, store: str | None) -> PairCache:
        """The cache, as if it held beside the endpoints this store alone (``vision``, ``prefix`` or None)."""
        cache = PairCache(self.path)
        cache.stores = {name: precision for name, precision in cache.stores.items() if name == store}
        return cache


def fill_pairs(
    place: Place,
    folder: Path,
    *,
    draws: int,
    stores: Collection[str],
    batch_size: int,
    precision: str,
    velocity: str | None,
    device: str,
    seed: int,
) -> PairsOnDisk:
    """Makes pairs of all training frames of a place.

    Args:
        place: of policy and data.
        folder: of the cache; made here.
        draws: noises of every frame.
        stores: what is kept beside the endpoints: ``vision``, ``prefix``.
        batch_size: observations at once.
        precision: of Lightning's trainer, as in training.
        velocity: as in training.
        device: ``cpu`` or ``cuda``.
        seed: of the noise.

    Raises:
        UserError: the process failed; its last words are in the message.
    """
    values = {
        "run_dir": folder,
        "teacher.path": place.teacher,
        "data.repo_id": place.repo_id,
        "data.root": place.root,
        "data.batch_size": batch_size,
        "draws": draws,
        "draws_at_once": min(draws, 8),
        "seed": seed,
        "velocity": velocity,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "trainer.precision": precision,
        "trainer.accelerator": "gpu" if device == "cuda" else "cpu",
    } | {f"data.{name}": value for name, value in place.data.items()}
    start = time.perf_counter()
    run_apart(
        "reflow.pairs",
        "+fix=full32",
        f"store=[{','.join(stores)}]",
        *(f"{name}={_word(value)}" for name, value in values.items()),
        what="filling the pair cache",
        advice="leave out the contenders that read pairs: variants=[reference,live_8]",
    )
    seconds = time.perf_counter() - start
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    return PairsOnDisk(str(folder), draws, seconds, size)


def _word(value: Any) -> str:
    """A value as Hydra's command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, str | Path):
        return "'" + str(value).replace("\\", "\\\\").replace("'", "\\'") + "'"
    return str(value).lower() if isinstance(value, bool) else str(value).replace(" ", "")
