"""Relative difference of chunks on real dimensions: what three of the metrics average, each over its pair.

Left out: which pair it is. `RelativeVelocityError`, `EndpointError` and `Sensitivity` say so.
"""

from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from reflow.flow.padding import ActionSpace
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


def relative_difference(
    value: Float[Tensor, "*chunks h d"], reference: Float[Tensor, "*chunks h d"], space: ActionSpace
) -> Float64[Tensor, "*chunks"]:
    """Compute ``||value - reference|| / ||reference||`` of each chunk, on real dimensions.

    The norm runs over ``h`` and the real dimensions together, in float64.

    Args:
        value: ``[*chunks, h, d]``.
        reference: Same shape.
        space: Knows which dimensions are real.

    Returns:
        One number per chunk, at least 0; inf where only the reference is zero, nan where both are.

    Raises:
        UserError: If the shapes differ or are not at native width.

    Example:
        >>> space = ActionSpace(action_dim=1, max_action_dim=2, chunk_size=2)
        >>> teacher = torch.tensor([[3.0, 7.0], [4.0, 7.0]])  # the second dimension is padding
        >>> relative_difference(1.5 * teacher, teacher, space)
        tensor(0.5000, dtype=torch.float64)
    """
    check_chunks(value=value, reference=reference)
    real = space.real(reference).double()
    difference = space.real(value).double() - real
    chunk = (-2, -1)
    return difference.square().sum(chunk).sqrt() / real.square().sum(chunk).sqrt()


def _relative_update(
    value: Float[Tensor, "*chunks h d"], reference: Float[Tensor, "*chunks h d"], space: ActionSpace
) -> tuple[Float64[Tensor, ""], int]:
    ratios = relative_difference(value, reference, space)
    return ratios.sum(), ratios.numel()


def _relative_compute(total: Float64[Tensor, ""], count: Int64[Tensor, ""]) -> Float64[Tensor, ""]:
    return total / count


class MeanRelativeDifference(ChunkMetric):
    """States of a mean over chunks; what is compared with what is the subclass's `update`.

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.
    """

    higher_is_better = False

    total: Tensor
    count: Tensor

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        self._add_state("total")
        self._add_state("count", dtype=torch.int64)

    def _add(self, value: Tensor, reference: Tensor) -> None:
        total, count = _relative_update(value, reference, self.space)
        self.total += total
        self.count += count

    def compute(self) -> Float64[Tensor, ""]:
        """Return the mean over all chunks so far; nan before the first."""
        return _relative_compute(self.total, self.count)
