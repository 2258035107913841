"""What ``torch.cuda`` gives for CUDA graphs, on a CPU: operations are recorded, and replayed into the same memory.

It shows what a graph would: a value that the host took from the inputs while recording stays as it was. It holds to
the rules that torch documents: runs on a side stream come first, each stream waits for the other, the host may not
wait while recording.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

_ATEN = torch.ops.aten
WAITS = (_ATEN._local_scalar_dense.default, _ATEN.item.default, _ATEN.nonzero.default)


class _Tape(TorchDispatchMode):
    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self._graph = graph

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in WAITS:
            raise torch.AcceleratorError("operation not permitted when stream is capturing")
        answer = func(*args, **(kwargs or {}))
        self._graph.tape.append((func, args, kwargs or {}, answer))
        return answer


class Graph:
    """A recorded piece of work."""

    def __init__(self) -> None:
        self.tape: list[tuple[Any, Any, Any, Any]] = []

    def replay(self) -> None:
        for func, args, kwargs, answer in self.tape:
            for old, new in zip(tree_leaves(answer), tree_leaves(func(*args, **kwargs)), strict=True):
                if isinstance(old, Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class Stream:
    """Notes who waits for whom."""

    def __init__(self, name: str, said: list[str]) -> None:
        self.name, self._said = name, said

    def wait_stream(self, other: Stream) -> None:
        self._said.append(f"{self.name} waits for {other.name}")


def install(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Puts these in the place of ``torch.cuda``'s; the list is told what happens, in order."""
    said: list[str] = []
    current = Stream("current", said)

    @contextlib.contextmanager
    def stream(one: Stream) -> Iterator[None]:
        said.append(f"on {one.name}")
        yield
        said.append("on current")

    @contextlib.contextmanager
    def record(graph: Graph) -> Iterator[None]:
        said.append("recording")
        with _Tape(graph):
            yield
        said.append("recorded")

    for name, value in {
        "is_available": lambda: True,
        "Stream": lambda: Stream("side", said),
        "current_stream": lambda: current,
        "stream": stream,
        "CUDAGraph": Graph,
        "graph": record,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    return said
