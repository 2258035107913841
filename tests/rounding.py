"""How far two results may be apart that sum the same numbers in another order: the bounds of
:mod:`reflow.policies.rounding`, and closer ones for what only the tests compare.

Where both sides run the same operations on the same shapes, a test asks for the same bits instead. Where only the
number of rows differs, the bits are the same on some kernels: :func:`rows_keep_their_bits` finds out.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from reflow.policies import FlowPolicy
from reflow.policies.rounding import apart, gamma, of_policy

__all__ = ["apart", "gamma", "of_endpoint", "of_gradient", "of_policy", "of_velocity", "rows_keep_their_bits"]


def of_velocity(flow: FlowPolicy, prefix: int) -> float:
    """Bounds how far two ways to compute a velocity may be apart, relative to the largest.

    Args:
        flow: the layers of its action expert give the lengths of the sums.
        prefix: tokens that a chunk sees before itself.
    """
    model = flow.policy.model
    parts = (
        model.action_in_proj,
        model.action_time_mlp_in,
        model.action_time_mlp_out,
        model.action_out_proj,
        model.vlm_with_expert.lm_expert,
    )
    return 2 * sum(gamma(n) for part in parts for n in _lengths(part, prefix + flow.space.chunk_size))


def of_gradient(flow: FlowPolicy, prefix: int) -> float:
    """Bounds likewise two gradients: forward, and two products of each length on the way back."""
    return 3 * of_velocity(flow, prefix)


def of_endpoint(flow: FlowPolicy, prefix: int, num_steps: int) -> float:
    """Bounds likewise two endpoints: every step adds the error of its velocity to those before."""
    return num_steps * of_velocity(flow, prefix)


def rows_keep_their_bits(rows: int, tail: int, width: int, columns: int) -> bool:
    """Whether here the last rows of a matrix product have the same bits as when they are computed alone.

    It turns on the kernel that the processor gets, and on the shape: to be asked for the very shape of a test.
    """
    generator = torch.Generator().manual_seed(0)

    def same(width: int, columns: int) -> bool:
        x = torch.randn(3, 2, rows, width, generator=generator)
        y = torch.randn(3, 2, width, columns, generator=generator)
        return torch.equal((x @ y)[..., -tail:, :], x[..., -tail:, :] @ y)

    return same(width, columns) and same(columns, width)


def _lengths(module: nn.Module, tokens: int) -> Iterator[int]:
    """Lengths of the sums in a transformer, one after the other, as if none ran side by side."""
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        if isinstance(weight, Tensor) and not isinstance(part, nn.Embedding):
            yield weight[0].numel() if weight.ndim > 1 else weight.numel()
        if name.endswith("self_attn"):  # scores, the softmax's sum, the weighted values
            yield from (part.head_dim, tokens, tokens)
