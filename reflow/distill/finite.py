"""Stops a run at a number that is none, before the update that would have spread it, and says where it came from.

On a CPU every step is looked at. On an accelerator a look makes the host wait for the device, so there the fused
optimizer is told, on the device, to leave out updates until the look, which is taken once in many steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from reflow.errors import UserError


class NonFiniteLossError(UserError):
    """A loss or a gradient is not a number any more; raised before the update that would have spread it."""


@dataclass
class _Passed:
    """One batch: whether its numbers were finite, told on the device that they came from."""

    loss: Tensor
    on_host: bool
    samples: Tensor
    step: int
    finite: Mapping[str, Tensor]  # by name, of each observation, [b]
    parameters: Sequence[str] = ()  # of the update that it is the last batch of
    gradients: Tensor | None = None  # of each of them


class FiniteNumbers:
    """Watches the losses and gradients of a run.

    Args:
        every: steps between two looks, where looking costs a wait; on a CPU it is 1.
    """

    def __init__(self, every: int = 50) -> None:
        self.every = every
        self._unseen: list[_Passed] = []
        self._finite: dict[str, Tensor] = {}

    def note(self, tensors: Mapping[str, Any]) -> None:
        """Notes what a loss is about to be made of, in this order.

        Args:
            tensors: by name, each ``[b, ...]``; what is no tensor of floating point is left out.
        """
        for name, value in tensors.items():
            if isinstance(value, Tensor) and value.is_floating_point() and value.ndim:
                self._finite[name] = torch.isfinite(value.detach()).flatten(1).all(1)

    def watch(self, loss: Tensor, samples: Tensor, step: int) -> None:
        """Notes a loss, and what was noted before it.

        Args:
            loss: scalar.
            samples: the observations it came from, ``[b]``, on the CPU.
            step: its training step.
        """
        self._unseen.append(_Passed(loss.detach(), loss.device.type == "cpu", samples, step, self._finite))
        self._finite = {}

    def guard(self, optimizer: Optimizer, parameters: Iterable[tuple[str, nn.Parameter]]) -> None:
        """Before an update: looks where that is free, or due; else has the device leave out an update that is none.

        Args:
            optimizer: of the update.
            parameters: by name; those without a gradient are left out.

        Raises:
            NonFiniteLossError: a loss or gradient, now or since the last look, is no number.
        """
        if not self._unseen:
            return
        now = self._unseen[-1]
        gradients = {name: _local(value.grad) for name, value in parameters if value.grad is not None}
        if gradients:
            norms = torch.stack(torch._foreach_norm(list(gradients.values())))
            now.parameters, now.gradients = list(gradients), torch.isfinite(norms)
        fused = all(group.get("fused") for group in optimizer.param_groups)
        if now.on_host or not fused or len(self._unseen) >= self.every:
            self.look()
            return
        optimizer.found_inf = (~_sound(self._unseen)).float()  # type: ignore[attr-defined]  # as GradScaler sets it

    def look(self) -> None:
        """Looks at all that has passed since the last look.

        Raises:
            NonFiniteLossError: names the first that is no number, its step, its samples and what it came from.
        """
        unseen, self._unseen = self._unseen, []
        if not unseen or _sound(unseen):  # one wait for all
            return
        for one in unseen:
            if (what := _wrong(one)) is not None:
                raise NonFiniteLossError(
                    f"{what}; stopped before the update, the last checkpoint is sound. Look at those samples of the "
                    "data set, or lower optimizer.lr, or use trainer.precision=32-true"
                )


def _sound(passed: Sequence[_Passed]) -> Tensor:
    """Whether all is finite, told on the device."""
    flags = [torch.isfinite(one.loss) for one in passed]
    flags += [one.gradients.all() for one in passed if one.gradients is not None]
    return torch.stack(flags).all()


def _local(gradient: Tensor) -> Tensor:
    """This process's part of a gradient that is sharded."""
    return gradient.to_local() if isinstance(gradient, DTensor) else gradient


def _wrong(one: _Passed) -> str | None:
    """What of a batch is no number, and the first thing that was none."""
    if torch.isfinite(one.loss):
        if one.gradients is None or one.gradients.all():
            return None
        names = [
            name for name, finite in zip(one.parameters, one.gradients.tolist(), strict=True) if not finite
        ]
        more = f" and of {len(names) - 1} more" if len(names) > 1 else ""
        return (
            f"the gradient of {names[0]}{more} is no number at step {one.step}, though the loss is, "
            f"{one.loss.item():g}; samples {one.samples.tolist()}"
        )
    for name, finite in one.finite.items():
        if not finite.all():
            samples = one.samples[~finite.cpu()].tolist()
            return f"loss is {one.loss.item()} at step {one.step}: {name} is no number in samples {samples}"
    return (
        f"loss is {one.loss.item()} at step {one.step}, samples {one.samples.tolist()}: all that it was made "
        "from was finite, so the student's own answer is not"
    )
