"""Re-padding difference: what cutting an endpoint to its real dimensions and zero-filling it throws away."""

from typing import Any

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from reflow.flow.padding import ActionSpace, PaddingRule
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


def _repadding_update(
    endpoint: Float[Tensor, "*chunks h d"], rule: PaddingRule
) -> tuple[Float64[Tensor, ""], Float64[Tensor, ""], int]:
    check_chunks(endpoint=endpoint)
    difference = (endpoint.double() - rule.target(endpoint).double()).abs()
    maximum = difference.amax() if difference.numel() else difference.new_zeros(())
    return difference.sum(), maximum, difference.numel()


def _repadding_compute(
    total: Float64[Tensor, ""], maximum: Float64[Tensor, ""], count: Int64[Tensor, ""]
) -> dict[str, Float64[Tensor, ""]]:
    return {"max": maximum.where(count > 0, torch.nan), "mean": total / count}


class RepaddingDifference(ChunkMetric):
    """Maximum and mean absolute difference between an endpoint and its re-padded self.

    Both over all native dimensions, the real ones (which do not differ) included, as the founding report
    has it.

    Args:
        space: Knows which dimensions are padding.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> difference = RepaddingDifference(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=2))
        >>> difference.update(torch.tensor([[[1.0, 0.0], [3.0, -0.5]]]))
        >>> {name: value.item() for name, value in difference.compute().items()}
        {'max': 0.5, 'mean': 0.125}
    """

    total: Tensor
    maximum: Tensor
    count: Tensor

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        # The rule that re-pads in training, so that what is measured is what is done there.
        self.rule = PaddingRule(space, target_dims="real")
        self._add_state("total")
        self._add_state("maximum", reduce="max")
        self._add_state("count", dtype=torch.int64)

    def update(self, endpoint: Float[Tensor, "*chunks h d"]) -> None:
        """Add chunks.

        Args:
            endpoint: Endpoints as integration leaves them, ``[*chunks, h, d]``.

        Raises:
            UserError: If it is not a chunk at native width.
        """
        total, maximum, count = _repadding_update(endpoint, self.rule)
        self.total += total
        self.maximum = torch.maximum(self.maximum, maximum)
        self.count += count

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """Return ``max`` and ``mean``; nan before the first chunk."""
        return _repadding_compute(self.total, self.maximum, self.count)
