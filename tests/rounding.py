"""How far two results may be apart that sum the same numbers in another order: from the arithmetic, not from a machine.

A sum or a dot product of n terms, in any order and with or without fused multiply-add, is off by at most
``gamma(n) = n u / (1 - n u)`` of the sum of the terms' magnitudes, u being half of eps (Higham, "Accuracy and Stability
of Numerical Algorithms", section 3.1). Through a chain of layers these add up to first order; each of two results is
off by that much. What is bounded is relative to the largest magnitude, which stands for the sum of magnitudes: the
layers here are normalised, so that none of them makes an error much larger than it found it.

Where both sides run the same operations on the same shapes, a test asks for the same bits instead.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from reflow.policies import FlowPolicy


def gamma(n: int, dtype: torch.dtype = torch.float32) -> float:
    """Largest relative error of a sum of ``n`` products."""
    unit = n * torch.finfo(dtype).eps / 2
    return unit / (1 - unit)


def apart_at_most(lengths: Iterable[int], dtype: torch.dtype = torch.float32) -> float:
    """Of two results that both go through sums of these lengths, one after the other; relative to the largest."""
    return 2 * sum(gamma(n, dtype) for n in lengths)


def of_velocity(flow: FlowPolicy, prefix: int) -> float:
    """Between two ways to compute a policy's velocity, relative to the largest.

    Args:
        flow: its action expert's projections give the lengths of the sums.
        prefix: tokens that each token of a chunk sees before its own chunk.
    """
    model = flow.policy.model
    expert = model.vlm_with_expert.lm_expert
    outside = (model.action_in_proj, model.action_time_mlp_in, model.action_time_mlp_out, model.action_out_proj)
    lengths = [module.in_features for module in (*outside, *_linear(expert))]
    seen = prefix + flow.space.chunk_size
    for layer in expert.layers:  # scores, the softmax's sum, the weighted values, and two norms
        lengths += [layer.self_attn.head_dim, seen, seen, *2 * [expert.config.hidden_size]]
    return apart_at_most(lengths)


def of_gradient(flow: FlowPolicy, prefix: int) -> float:
    """Likewise between two gradients: forward, and two products of each length on the way back."""
    return 3 * of_velocity(flow, prefix)


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()


def _linear(module: nn.Module) -> list[nn.Linear]:
    return [part for part in module.modules() if isinstance(part, nn.Linear)]
