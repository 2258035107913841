"""What goes into one module of LeRobot's, and what comes out of another, while its own code runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Seen:
    """What was seen last.

    Attributes:
        read: the first input of the one module.
        answered: the output of the other.
    """

    read: Tensor
    answered: Tensor


@contextlib.contextmanager
def watched(reads: nn.Module, answers: nn.Module) -> Iterator[Seen]:
    """In here the two are watched; both have been run when it is left.

    Args:
        reads: whose first input is kept.
        answers: whose output is kept.
    """
    seen = Seen.__new__(Seen)
    hooks = (
        reads.register_forward_pre_hook(lambda _, inputs: setattr(seen, "read", inputs[0])),
        answers.register_forward_hook(lambda _, inputs, output: setattr(seen, "answered", output)),
    )
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
