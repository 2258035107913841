"""How far two ways to compute the same thing may be apart by rounding alone: from arithmetic, not from a machine.

A sum or a dot product of n terms, in any order and with or without fused multiply-add, is off by at most
``gamma(n) = n u / (1 - n u)`` of the sum of the terms' magnitudes, u being half of eps (Higham, "Accuracy and
Stability of Numerical Algorithms", section 3.1). Through a chain of layers these add up to first order, and each of
two results is off by that much. What is bounded is relative to the largest magnitude, which stands for the sum of
magnitudes: the layers here are normalised, so that none of them makes an error much larger than it found it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from reflow.policies.base import FlowPolicy
from reflow.policies.groups import prefix_parameters


def gamma(n: int, dtype: torch.dtype = torch.float32) -> float:
    """Largest relative error of a sum of ``n`` products."""
    error = n * torch.finfo(dtype).eps / 2
    return error / (1 - error)


def of_policy(flow: FlowPolicy, tokens: int = 128, whole: bool = False) -> float:
    """Bounds how far two ways to compute a velocity of any policy may be apart, relative to the largest.

    Args:
        flow: the policy; its layers that hold weights give the lengths of the sums.
        tokens: that a token sees, at most.
        whole: count the layers of the prefix too, for what is encoded in another way or in another batch.
    """
    prefix = set() if whole else set(prefix_parameters(flow))
    every = dict(flow.named_parameters(remove_duplicate=False))
    if len(prefix) == len(every):
        prefix = set()
    bound = 0.0
    for name, part in flow.named_modules():
        weight = getattr(part, "weight", None)
        if (
            isinstance(weight, Tensor)
            and not isinstance(part, nn.Embedding)
            and f"{name}.weight" not in prefix
        ):
            bound += gamma(weight[0].numel() if weight.ndim > 1 else weight.numel())
            bound += gamma(2 * tokens) / 4  # a quarter of the layers of a transformer are an attention's
    return 2 * bound


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()
