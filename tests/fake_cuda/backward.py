"""Backward passes without torch's engine, which wants a thread of a real device for each tensor's.

The graph is that of autograd; its nodes are asked in Python, in the engine's order, and held to the engine's rule: a
gradient lies on the device of its tensor.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor


@torch.no_grad()
def backward(loss: Tensor) -> None:
    """Adds to ``grad`` of every leaf what ``loss.backward()`` would.

    Raises:
        RuntimeError: a gradient is not where its tensor is.
    """
    arriving: dict[Any, list[Tensor | None]] = defaultdict(list)
    arriving[loss.grad_fn] = [torch.ones_like(loss)]
    for node in _ordered(loss.grad_fn):
        given = _as_wanted(node, arriving.pop(node, []))
        if all(gradient is None for gradient in given):
            continue
        if (leaf := getattr(node, "variable", None)) is not None:
            leaf.grad = given[0].clone() if leaf.grad is None else leaf.grad + given[0]
            continue
        answers = node(*given) if callable(node) else node.apply(*given)  # the latter is a Function in Python
        answers = answers if isinstance(answers, tuple) else (answers,)
        for (below, place), gradient in zip(node.next_functions, answers, strict=True):
            if below is None or gradient is None:
                continue
            waiting = arriving[below]
            waiting += [None] * (place + 1 - len(waiting))
            before = waiting[place]
            waiting[place] = gradient if before is None else before + gradient


def _ordered(root: Any) -> list[Any]:
    """Every node after all that it is asked by."""
    found: list[Any] = []
    seen, path = {root}, [(root, iter(root.next_functions))]
    while path:
        node, below = path[-1]
        for one, _ in below:
            if one is not None and one not in seen:
                seen.add(one)
                path.append((one, iter(one.next_functions)))
                break
        else:
            found.append(node)
            path.pop()
    return found[::-1]


def _as_wanted(node: Any, gradients: list[Tensor | None]) -> list[Tensor | None]:
    wanted = node._input_metadata
    given = gradients + [None] * (len(wanted) - len(gradients))
    found: list[Tensor | None] = []
    for gradient, of in zip(given, wanted, strict=True):
        if gradient is None:
            found.append(None)
            continue
        if gradient.device != of.device:
            raise RuntimeError(f"{node.name()}: a gradient on {gradient.device} of a tensor on {of.device}")
        found.append(gradient.sum_to_size(tuple(of.shape)).to(of.dtype))
    return found
