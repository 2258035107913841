"""Seconds of one piece of work, or of its stages, a GPU waited for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import torch


def waiter(device: str | torch.device) -> Callable[[], None]:
    """What to call before looking at the clock: a GPU is waited for, a CPU is not."""
    return torch.cuda.synchronize if torch.device(device).type == "cuda" else lambda: None


def seconds_of(work: Callable[[], Any], device: str | torch.device) -> float:
    """Seconds that a piece of work takes, all that it asks of the device included."""
    wait = waiter(device)
    wait()
    start = time.perf_counter()
    work()
    wait()
    return time.perf_counter() - start


def seconds_of_stages(
    stages: Sequence[Callable[[Any], Any]], given: Any, device: str | torch.device
) -> list[float]:
    """Seconds of each stage of one piece of work.

    Args:
        stages: each is given what the one before it gave.
        given: to the first.
        device: that is waited for behind each.
    """
    wait = waiter(device)
    wait()
    seconds = []
    for stage in stages:
        start = time.perf_counter()
        given = stage(given)
        wait()
        seconds.append(time.perf_counter() - start)
    return seconds
