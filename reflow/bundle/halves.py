"""A policy's two halves as modules of tensors alone: what an exporter, a compiler or a CUDA graph takes.

Whatever a context is made of (dataclasses, tuples, dictionaries, None) is taken apart into its tensors and put
together again, so that every adapter will do as it is. Shapes are those of the example: batch 1.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from jaxtyping import Float
from lerobot.utils.constants import ACTION
from torch import Tensor, nn

from reflow.policies import Batch, FlowPolicy

_OUTCOMES = (ACTION, "action_is_pad", "info")


def tensors_of(value: Any, name: str = "") -> Iterator[tuple[str, Tensor]]:
    """The tensors inside a value, in order, each with a name that says where.

    Args:
        value: of dataclasses, mappings, tuples and lists.
        name: of the value itself.
    """
    if isinstance(value, Tensor):
        yield name, value
    for key, entry in _inside(value):
        yield from tensors_of(entry, f"{name}.{key}" if name else str(key))


def with_tensors(like: Any, tensors: Iterator[Tensor]) -> Any:
    """The same value with other tensors in the place of its own, in the order of :func:`tensors_of`."""
    if isinstance(like, Tensor):
        return next(tensors)
    found = {key: with_tensors(entry, tensors) for key, entry in _inside(like)}
    if dataclasses.is_dataclass(like) and not isinstance(like, type):
        return dataclasses.replace(like, **found)
    if isinstance(like, Mapping):
        return found
    return type(like)(found.values()) if isinstance(like, tuple | list) else like


def _inside(value: Any) -> Iterator[tuple[Any, Any]]:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        for entry in dataclasses.fields(value):
            yield entry.name, getattr(value, entry.name)
    elif isinstance(value, Mapping):
        yield from value.items()
    elif isinstance(value, tuple | list):
        yield from enumerate(value)


def one_whole_number(tensor: Tensor) -> Tensor:
    """Whole numbers are 64 bits wide in a graph: some operators of ONNX take no others."""
    return tensor.long() if tensor.dtype == torch.int32 else tensor


class PrefixHalf(nn.Module):
    """``encode`` of one observation: tensors of the batch in, tensors of the context out.

    Args:
        flow: the policy.
        batch: an observation, preprocessed; entries that are no tensors stay what they are here.

    Attributes:
        names: of the tensors that it takes.
    """

    def __init__(self, flow: FlowPolicy, batch: Batch) -> None:
        super().__init__()
        self.flow, self._like = flow, observed(batch)
        self.names = [name for name, _ in tensors_of(self._like)]

    def inputs(self, batch: Batch) -> tuple[Tensor, ...]:
        """A batch as what it takes."""
        return tuple(tensor for _, tensor in tensors_of(observed(batch)))

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """The context's tensors, in the order of :func:`tensors_of`."""
        context = self.flow.encode(with_tensors(self._like, iter(tensors)))
        return tuple(one_whole_number(tensor) for _, tensor in tensors_of(context))


class VelocityHalf(nn.Module):
    """``velocity`` at one noise of one observation.

    Args:
        flow: the policy.
        context: an encoded observation.

    Attributes:
        names: of the context's tensors that it takes, behind ``x_t`` and ``t``.
    """

    def __init__(self, flow: FlowPolicy, context: Any) -> None:
        super().__init__()
        self.flow, self._like = flow, context
        self.names = [f"context.{name}".rstrip(".") for name, _ in tensors_of(context)]

    def inputs(self, context: Any) -> tuple[Tensor, ...]:
        """A context as what it takes."""
        return tuple(one_whole_number(tensor) for _, tensor in tensors_of(context))

    def forward(
        self, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"], *tensors: Tensor
    ) -> Float[Tensor, "b k h d"]:
        """The velocity, in the convention of :mod:`reflow.flow.path`."""
        return self.flow.velocity(with_tensors(self._like, iter(tensors)), x_t, t)


def observed(batch: Batch) -> Batch:
    """What of a batch a policy may read at inference: no action, and nothing of what came of it."""
    return {
        key: value
        for key, value in batch.items()
        if value is not None and key not in _OUTCOMES and not key.startswith("next.")
    }
