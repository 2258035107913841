"""Work of a GPU recorded once as a CUDA graph and replayed: the host launches one thing in place of hundreds.

Recorded as torch documents it ("CUDA semantics", CUDA Graphs): some runs on a stream of their own, then the capture;
what is read and written stays at its place in memory. Left out: graphs of a training step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.policies import FlowPolicy


class NotRecordableError(RuntimeError):
    """The work waits for the GPU or copies from the host, which a CUDA graph cannot hold."""


def graphed[T](work: Callable[[], T], *, warmup: int = 3) -> Callable[[], T]:
    """Records what a piece of work asks of the current GPU.

    Args:
        work: reads tensors on the GPU and returns some; without gradients. Whoever wants other inputs at a replay
            writes them into the tensors that were read (``copy_``).
        warmup: runs before the capture, in which libraries set themselves up.

    Returns:
        Replays the work; its result is the same tensors at every call, with new contents.

    Raises:
        UserError: there is no GPU.
        NotRecordableError: the work cannot be recorded; says what torch said.
    """
    if not torch.cuda.is_available():
        raise UserError(
            "a CUDA graph needs a GPU, and torch sees none here; measure eager and compiled alone"
        )
    caching = torch.is_autocast_cache_enabled()
    # Under autocast the copies of weights in 16 bits would be kept by autocast's cache, outside the graph, and go
    # with it: a replay would read freed memory.
    torch.clear_autocast_cache()
    torch.set_autocast_cache_enabled(False)
    try:
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(warmup):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                result = work()
        except RuntimeError as error:
            raise NotRecordableError(f"cannot be recorded as a CUDA graph: {error}") from error
    finally:
        torch.set_autocast_cache_enabled(caching)

    def replay() -> T:
        graph.replay()
        return result

    return replay


class GraphedWalk:
    """A policy's integration as a CUDA graph, for one observation after another.

    Args:
        flow: the policy, on a GPU.
        context: an encoded observation.
        noise: one for each, ``[b, 1, h, d]``.
        num_steps: None for the policy's own.

    Raises:
        UserError: there is no GPU, or several noises are asked for: contexts remember their repetition, which a
            replay would then read in place of the next observation.
        NotRecordableError: see :func:`graphed`.
    """

    def __init__(
        self,
        flow: FlowPolicy,
        context: Any,
        noise: Float[Tensor, "b 1 h d"],
        num_steps: int | None = None,
    ) -> None:
        if noise.shape[1] != 1:
            raise UserError(f"noise has shape {tuple(noise.shape)}; a graph takes one noise per observation")
        own, start = _cloned(context), noise.clone()
        self._inputs = [*tensors_in(own), start]
        self._replay = graphed(lambda: flow.walk(own, start, num_steps))

    def __call__(self, context: Any, noise: Float[Tensor, "b 1 h d"]) -> Float[Tensor, "b 1 h d"]:
        """Where stock inference ends, as :meth:`FlowPolicy.walk` says; overwritten by the next call.

        Args:
            context: another encoded observation, its tensors of the shapes of the first one's.
            noise: likewise.
        """
        for mine, given in zip(self._inputs, [*tensors_in(context), noise], strict=True):
            mine.copy_(given)
        return self._replay()


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Every tensor of a context, always in the same order; what a dataclass remembers for itself is left out."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        yield from tensors_in([*value.values()])
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from tensors_in(entry)
    elif is_dataclass(value):
        yield from tensors_in([getattr(value, name) for name in _named(value)])


def _cloned(value: Any) -> Any:
    """The same context on memory of its own."""
    if isinstance(value, Tensor):
        return value.clone(memory_format=torch.contiguous_format)
    if isinstance(value, dict):
        return {key: _cloned(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cloned(entry) for entry in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{name: _cloned(getattr(value, name)) for name in _named(value)})
    return value


def _named(value: Any) -> list[str]:
    return [field.name for field in fields(value) if not field.name.startswith("_")]
