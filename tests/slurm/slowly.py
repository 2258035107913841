"""A callback that makes a run last longer than a time limit, on any machine."""

import time
from typing import Any

import lightning as L


class Slowly(L.Callback):
    """Waits before each step, and changes nothing.

    Args:
        seconds: before each.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def on_train_batch_start(self, *_: Any) -> None:
        time.sleep(self.seconds)
