"""Padding statistics: what the padding dimensions of an endpoint hold, beside the real ones.

A teacher whose padding was supervised ends near zero there; another ends anywhere. These are the figures that
tell them apart.

Left out: what re-padding throws away (`RepaddingDifference`), what padding noise does (`Sensitivity`).
"""

from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from reflow.flow.padding import ActionSpace
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric

# Order of the sums in a state.
_SUM, _SQUARES, _ABSOLUTE = range(3)


def _statistics_update(
    x: Float[Tensor, "..."],
) -> tuple[Float64[Tensor, "3"], Float64[Tensor, ""], int]:
    x = x.double()
    sums = torch.stack([x.sum(), x.square().sum(), x.abs().sum()])
    maximum = x.abs().amax() if x.numel() else x.new_zeros(())
    return sums, maximum, x.numel()


def _statistics_compute(
    sums: Float64[Tensor, "3"], maximum: Float64[Tensor, ""], count: Int64[Tensor, ""]
) -> dict[str, Float64[Tensor, ""]]:
    mean = sums[_SUM] / count
    # Rounding can leave a variance of zero a little below it.
    variance = (sums[_SQUARES] / count - mean.square()).clamp(min=0)
    return {
        "mean": mean,
        "std": variance.sqrt(),
        "abs_mean": sums[_ABSOLUTE] / count,
        "abs_max": maximum.where(count > 0, torch.nan),
    }


class PaddingStatistics(ChunkMetric):
    """Mean, standard deviation, mean and maximum absolute value, of real and of padding dimensions.

    Over chunks, steps and dimensions together; the standard deviation is the population's (divided by the
    count).

    Args:
        space: Knows which dimensions are padding.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> statistics = PaddingStatistics(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=2))
        >>> statistics.update(torch.tensor([[[1.0, 0.0], [3.0, -0.5]]]))
        >>> {name: value.item() for name, value in statistics.compute().items() if "real" in name}
        {'real/mean': 2.0, 'real/std': 1.0, 'real/abs_mean': 2.0, 'real/abs_max': 3.0}
    """

    sums: Tensor
    maximum: Tensor
    count: Tensor

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        # One row for the real dimensions, and one for padding where there is any.
        self.parts = ["real", "padding"] if space.padding_dim else ["real"]
        rows = len(self.parts)
        self._add_state("sums", rows, 3)
        self._add_state("maximum", rows, reduce="max")
        self._add_state("count", rows, dtype=torch.int64)

    def update(self, endpoint: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            endpoint: Endpoints, or anything else at native width, ``[*chunks, h, d]``.

        Raises:
            UserError: If it is not a chunk at native width.
        """
        check_chunks(endpoint=endpoint)
        for row, part in enumerate(self.parts):
            x = self.space.real(endpoint) if part == "real" else self.space.padding(endpoint)
            sums, maximum, count = _statistics_update(x)
            self.sums[row] += sums
            self.maximum[row] = torch.maximum(self.maximum[row], maximum)
            self.count[row] += count

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """Return the figures, nan before the first chunk.

        Returns:
            ``real/mean``, ``real/std``, ``real/abs_mean``, ``real/abs_max``, and the same under ``padding/``
            if the space has padding.
        """
        return {
            f"{part}/{name}": value
            for row, part in enumerate(self.parts)
            for name, value in _statistics_compute(self.sums[row], self.maximum[row], self.count[row]).items()
        }
