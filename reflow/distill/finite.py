"""Stops a run at a loss that is no number, before the update that would have spread it.

On a CPU every loss is looked at. On an accelerator a look makes the host wait for the device, so there the fused
optimizer is told, on the device, to leave such an update out, and the look is taken once in many steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from reflow.errors import UserError


class NonFiniteLossError(UserError):
    """The loss is not a number any more; raised before the update that would have spread it."""


class FiniteLoss:
    """Watches the losses of a run.

    Args:
        every: steps between two looks, where looking costs a wait; on a CPU it is 1.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._unseen: list[tuple[Tensor, Tensor, int]] = []
        self._left_out: Tensor | None = None

    def watch(self, loss: Tensor, samples: Tensor, step: int) -> None:
        """Notes a loss; looks where that is free, or due.

        Args:
            loss: scalar.
            samples: the observations it came from, ``[b]``, on the CPU.
            step: its training step.

        Raises:
            NonFiniteLossError: this loss, or one since the last look, is no number.
        """
        self._unseen.append((loss.detach(), samples, step))
        if loss.device.type == "cpu" or len(self._unseen) >= self.every:
            self.look()
            return
        bad = (~torch.isfinite(loss.detach())).float()
        self._left_out = bad if self._left_out is None else torch.maximum(self._left_out, bad)

    def guard(self, optimizer: Optimizer) -> None:
        """Before an update: has the device leave it out if one of its losses is no number."""
        if self._left_out is None:
            return
        if all(group.get("fused") for group in optimizer.param_groups):
            optimizer.found_inf = self._left_out  # type: ignore[attr-defined]  # what GradScaler sets, too
        else:
            self.look()
        self._left_out = None

    def look(self) -> None:
        """Looks at all losses since the last look.

        Raises:
            NonFiniteLossError: names the first one that is no number.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen or torch.isfinite(torch.stack([loss for loss, _, _ in unseen])).all():
            return
        bad: Any = next(entry for entry in unseen if not torch.isfinite(entry[0]))
        loss, samples, step = bad
        raise NonFiniteLossError(
            f"loss is {loss.item()} at step {step}, samples {samples.tolist()} of the data "
            "set; stopped before the update, the last checkpoint is sound. Look at those samples, or lower "
            "optimizer.lr, or use trainer.precision=32-true"
        )
