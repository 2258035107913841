"""Batches in which pixels come one row a patch, of all images one after the other, as Qwen's processors give them."""

from __future__ import annotations

from reflow.policies.base import Batch

PIXELS, GRID = "pixel_values", "image_grid_thw"


def split_pixels(batch: Batch, size: int, count: int) -> tuple[Batch, Batch]:
    """Pixels of the first observations, and the rest of the batch as it is.

    Args:
        batch: of ``size`` observations, each of as many images.
        size: of the batch.
        count: how many.
    """
    grid = batch[GRID][: count * (len(batch[GRID]) // size)]
    rest = {key: value for key, value in batch.items() if key not in (PIXELS, GRID)}
    return {PIXELS: batch[PIXELS][: int(grid.prod(-1).sum())], GRID: grid}, rest
