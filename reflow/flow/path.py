"""The straight path between noise and action, and the one statement of the time convention.

The convention, LeRobot's and openpi's, for the whole package:

- ``t = 1`` is noise, ``t = 0`` is the action; integration runs from 1 down to 0;
- ``x_t = t * noise + (1 - t) * action``;
- ``u_t = noise - action``, the derivative of ``x_t`` with respect to ``t``.

Papers on rectified flow run time the other way (Liu et al. 2022, "Flow Straight and Fast", eq. 1: data at
``t = 1``). A policy that does so is turned around inside its adapter, never here.

Left out: other interpolants. Reflow is about straight lines.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError


@dataclass(frozen=True)
class PathSample:
    """A point on the path and the velocity there.

    Attributes:
        x_t: The point at time ``t``, shape ``[*b, h, d]``.
        u_t: The velocity ``dx_t/dt``, same shape: the regression target.
    """

    x_t: Float[Tensor, "..."]
    u_t: Float[Tensor, "..."]


def straight_path(
    noise: Float[Tensor, "*x"], action: Float[Tensor, "*x"], t: Float[Tensor, "..."]
) -> PathSample:
    """Interpolate linearly between noise and action (Liu et al. 2022, eq. 1, with time reversed).

    The operations and their order are LeRobot's, so the result equals its training forward to the last bit.

    Args:
        noise: The path at ``t = 1``, shape ``[*b, h, d]``.
        action: The path at ``t = 0``, same shape and dtype.
        t: Time in [0, 1], of the leading dimensions of ``noise`` (for instance ``[b]`` or ``[b, k]``);
            broadcast over the others.

    Returns:
        The point ``x_t`` and the velocity ``u_t``, in the shape and dtype of ``noise``.

    Raises:
        UserError: If the shapes do not fit, or if a dtype would silently change the result's.

    Example:
        >>> noise, action = torch.full((1, 1, 2), 4.0), torch.zeros(1, 1, 2)
        >>> sample = straight_path(noise, action, torch.tensor([0.75]))
        >>> sample.x_t.tolist(), sample.u_t.tolist()
        ([[[3.0, 3.0]]], [[[4.0, 4.0]]])
    """
    if action.shape != noise.shape:
        raise UserError(
            f"action has shape {tuple(action.shape)}, noise {tuple(noise.shape)}; they must be equal: "
            "expand the action over the draws before asking for a path"
        )
    if t.shape != noise.shape[: t.ndim]:
        raise UserError(
            f"t has shape {tuple(t.shape)}; allowed: the leading dimensions of noise {tuple(noise.shape)}; "
            "give one time per chunk and leave the broadcasting to straight_path"
        )
    if action.dtype != noise.dtype or torch.promote_types(t.dtype, noise.dtype) != noise.dtype:
        raise UserError(
            f"dtypes differ: noise {noise.dtype}, action {action.dtype}, t {t.dtype}; x_t must keep the "
            "dtype of noise: cast with .to(noise.dtype) before the call"
        )
    time = t.reshape(t.shape + (1,) * (noise.ndim - t.ndim))
    return PathSample(x_t=time * noise + (1 - time) * action, u_t=noise - action)
