"""Velocity error by time and dimension, and by time and chunk step: the numbers of heat maps.

Left out: the picture, and the mean over everything (`VelocityLoss`).
"""

from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace, PaddingRule
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


def _time_bin(t: Float[Tensor, "*chunks"], bins: int) -> Int64[Tensor, "*chunks"]:
    # 0.7 in float32 is a little less than 7/10, but a solver's grid is meant to lie on the edges.
    rounding = torch.finfo(t.dtype).eps
    return (bins * (t.double() + rounding)).floor().long().clamp(max=bins - 1)


def _profile_update(
    v_t: Float[Tensor, "*chunks h d"],
    u_t: Float[Tensor, "*chunks h d"],
    t: Float[Tensor, "*chunks"],
    bins: int,
    space: ActionSpace,
) -> tuple[Float64[Tensor, "bins d"], Float64[Tensor, "bins h"], Int64[Tensor, " bins"]]:
    check_chunks(v_t=v_t, u_t=u_t)
    if v_t.shape[-2] != space.chunk_size:
        raise UserError(
            f"v_t has shape {tuple(v_t.shape)}; allowed: {space.chunk_size} steps (chunk_size) next to last; "
            "give whole chunks"
        )
    if t.shape != v_t.shape[:-2]:
        raise UserError(
            f"t has shape {tuple(t.shape)}; allowed: {tuple(v_t.shape[:-2])}, the leading dimensions of v_t; "
            "give one time per chunk"
        )
    if not ((t >= 0) & (t <= 1)).all():
        raise UserError(
            f"t reaches from {t.min().item():g} to {t.max().item():g}; allowed: 0 (action) to 1 (noise); "
            "bring it into the convention of reflow.flow.path"
        )
    error = PaddingRule(space, loss_dims="full").loss((v_t.double() - u_t.double()).square())
    index = _time_bin(t, bins).reshape(-1)

    def by_bin(chunks: Float64[Tensor, "*chunks n"]) -> Float64[Tensor, "bins n"]:
        rows = chunks.reshape(-1, chunks.shape[-1])
        return rows.new_zeros(bins, rows.shape[1]).index_add_(0, index, rows)

    by_dimension, by_step = by_bin(error.sum(dim=-2)), by_bin(space.real(error).sum(dim=-1))
    return by_dimension, by_step, torch.bincount(index, minlength=bins)


def _profile_compute(
    total: Float64[Tensor, "bins n"], count: Int64[Tensor, " bins"], each: int
) -> Float64[Tensor, "bins n"]:
    return total / (each * count)[:, None]


class VelocityErrorProfile(ChunkMetric):
    """Mean of ``(v_t - u_t)**2`` over chunks and steps, by bin of time and by dimension, padding included.

    `by_step` has the same errors by bin of time and by chunk step, over chunks and real dimensions.

    Bin ``i`` holds times from ``i / bins`` up to but not including ``(i + 1) / bins``; the last holds 1 too.
    A time nearer below an edge than its dtype can tell belongs to the bin above.

    Args:
        bins: Number of equal bins of time, at least 1.
        space: Knows the native width, the real one and the length of a chunk.
        **kwargs: For `torchmetrics.Metric`.

    Raises:
        UserError: If ``bins`` is below 1.

    Example:
        >>> profile = VelocityErrorProfile(bins=2, space=ActionSpace(1, 2, chunk_size=4))
        >>> u_t = torch.zeros(3, 4, 2)
        >>> profile.update(u_t + torch.tensor([1.0, 2.0]), u_t, t=torch.tensor([0.0, 0.1, 0.2]))
        >>> profile.compute()
        tensor([[1., 4.],
                [nan, nan]], dtype=torch.float64)
        >>> profile.by_step()[0]
        tensor([1., 1., 1., 1.], dtype=torch.float64)
    """

    higher_is_better = False

    total: Tensor
    step_total: Tensor
    count: Tensor

    def __init__(self, bins: int, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        if bins < 1:
            raise UserError(f"bins is {bins}; allowed: 1 or more; 10 to 20 read well as a heat map")
        self.bins = bins
        self._add_state("total", bins, space.max_action_dim)
        self._add_state("step_total", bins, space.chunk_size)
        self._add_state("count", bins, dtype=torch.int64)

    def update(
        self,
        v_t: Float[Tensor, "*chunks h d"],
        u_t: Float[Tensor, "*chunks h d"],
        t: Float[Tensor, "*chunks"],
    ) -> None:
        """Add chunks.

        Args:
            v_t: Predicted velocity, ``[*chunks, h, d]``.
            u_t: Target velocity ``noise - action``, same shape.
            t: Time of each chunk in [0, 1], ``[*chunks]``.

        Raises:
            UserError: If the shapes do not fit or are not at native width, or a time is out of range.
        """
        total, step_total, count = _profile_update(v_t, u_t, t, self.bins, self.space)
        self.total += total
        self.step_total += step_total
        self.count += count

    def compute(self) -> Float64[Tensor, "bins d"]:
        """Return the mean squared error, ``[bins, d]``; nan in the rows of empty bins."""
        return _profile_compute(self.total, self.count, self.space.chunk_size)

    def by_step(self) -> Float64[Tensor, "bins h"]:
        """Return the mean squared error on real dimensions, ``[bins, h]``; nan in the rows of empty bins.

        Of what this process has seen; `compute` is what gathers processes.
        """
        return _profile_compute(self.step_total, self.count, self.space.action_dim)
