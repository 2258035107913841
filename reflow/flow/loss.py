"""The flow-matching loss: squared velocity error, averaged over the dimensions and time steps that count.

A teacher's endpoint is a complete chunk; of the data's own actions some time steps may lie past the episode's end.
"""

from typing import Literal, get_args

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import PaddingRule

Reduction = Literal["mean", "none"]
"""``mean``: one number. ``none``: one number per chunk."""


def velocity_loss(
    v_t: Float[Tensor, "*b h d"],
    u_t: Float[Tensor, "*b h d"],
    rule: PaddingRule,
    reduction: Reduction = "mean",
    inside: Bool[Tensor, "..."] | None = None,
) -> Float[Tensor, "..."]:
    """Mean of ``(v_t - u_t)**2`` (Lipman et al. 2023, "Flow Matching for Generative Modeling", eq. 9).

    Args:
        v_t: Predicted velocity, ``[*b, h, d]``.
        u_t: Target velocity, same shape.
        rule: Decides, by ``rule.loss``, which dimensions enter the mean.
        reduction: ``mean`` over everything, or ``none`` for the mean over ``h`` and dimensions of each chunk.
        inside: Time steps that count, ``[*b, h, 1]`` or broadcast to it; None for all.

    Returns:
        A scalar under ``mean``, ``[*b]`` under ``none``.

    Raises:
        UserError: If the shapes differ or are not at native width, or the reduction is unknown.
    """
    if v_t.shape != u_t.shape:
        raise UserError(
            f"v_t has shape {tuple(v_t.shape)}, u_t {tuple(u_t.shape)}; they must be equal: broadcasting "
            "would average over pairs that do not belong together"
        )
    if reduction not in get_args(Reduction):
        raise UserError(f"reduction is {reduction!r}; allowed: 'mean' (one number) or 'none' (one per chunk)")
    # The call and its order of operations are LeRobot's, so that losses can be compared to the last bit.
    error = rule.loss(F.mse_loss(u_t, v_t, reduction="none"))
    if inside is not None:
        return _inside_mean(error, inside.expand(*error.shape[:-1], 1), reduction)
    return error.mean() if reduction == "mean" else error.mean(dim=(-2, -1))


def _inside_mean(error: Tensor, inside: Tensor, reduction: Reduction) -> Tensor:
    """Mean over the time steps inside the episode, as LeRobot's ``SmolVLAPolicy.forward`` takes it."""
    counted, sums = inside * error.shape[-1], error * inside
    if reduction == "mean":
        return sums.sum() / counted.sum().clamp_min(1)
    return sums.sum((-2, -1)) / counted.sum((-2, -1)).clamp_min(1)
