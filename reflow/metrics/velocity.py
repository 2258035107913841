"""Velocity error: how well a student knows the line it should follow, in one number, relative and squared.

Both are "deployed" figures where the caller takes ``x_t`` on the deployed coupling: native-width noise as
stock inference draws it, the teacher's endpoint as it is, held-out real observations. The deploy gap is the
squared one over the loss that training reports.

Left out: errors by time and dimension (`VelocityErrorProfile`).
"""

from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from reflow.flow.padding import ActionSpace
from reflow.metrics.relative import MeanRelativeDifference
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


class RelativeVelocityError(MeanRelativeDifference):
    """Mean over chunks of ``||v_t - u_t|| / ||u_t||``, on real dimensions.

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> error = RelativeVelocityError(ActionSpace(action_dim=2, max_action_dim=3, chunk_size=4))
        >>> u_t = torch.ones(5, 4, 3)
        >>> error.update(1.5 * u_t, u_t)
        >>> error.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def update(self, v_t: Float[Tensor, "*chunks h d"], u_t: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            v_t: Predicted velocity, ``[*chunks, h, d]``.
            u_t: Target velocity ``noise - action``, same shape.

        Raises:
            UserError: If the shapes differ or are not at native width.
        """
        self._add(v_t, u_t)


def _loss_update(
    v_t: Float[Tensor, "*chunks h d"], u_t: Float[Tensor, "*chunks h d"], space: ActionSpace
) -> tuple[Float64[Tensor, ""], int]:
    check_chunks(v_t=v_t, u_t=u_t)
    difference = space.real(v_t).double() - space.real(u_t).double()
    return difference.square().sum(), difference.numel()


def _loss_compute(total: Float64[Tensor, ""], count: Int64[Tensor, ""]) -> Float64[Tensor, ""]:
    return total / count


class VelocityLoss(ChunkMetric):
    """Mean of ``(v_t - u_t)**2`` over chunks, steps and real dimensions.

    On the deployed coupling this is the deploy loss.

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> loss = VelocityLoss(ActionSpace(action_dim=2, max_action_dim=3, chunk_size=4))
        >>> u_t = torch.ones(5, 4, 3)
        >>> loss.update(1.5 * u_t, u_t)
        >>> loss.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    higher_is_better = False

    total: Tensor
    count: Tensor

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        self._add_state("total")
        self._add_state("count", dtype=torch.int64)

    def update(self, v_t: Float[Tensor, "*chunks h d"], u_t: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            v_t: Predicted velocity, ``[*chunks, h, d]``.
            u_t: Target velocity ``noise - action``, same shape.

        Raises:
            UserError: If the shapes differ or are not at native width.
        """
        total, count = _loss_update(v_t, u_t, self.space)
        self.total += total
        self.count += count

    def compute(self) -> Float64[Tensor, ""]:
        """Return the mean over all elements so far; nan before the first."""
        return _loss_compute(self.total, self.count)
