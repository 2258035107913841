"""What the metrics have in common: an action space, and sums that stay in float64."""

from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from reflow.flow.padding import ActionSpace


class ChunkMetric(Metric):
    """A metric over chunks, kept as sums over them.

    Its states move with the module they belong to but keep their dtype: `Metric` holds out against
    ``.half()``, not against ``.to(torch.bfloat16)``, which is what training in low precision calls, and a sum
    of many small numbers in eight bits is none.

    Args:
        space: Knows the border between real and padding dimensions.
        **kwargs: For `torchmetrics.Metric`.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.space = space

    def _add_state(
        self,
        name: str,
        *shape: int,
        dtype: torch.dtype = torch.float64,
        reduce: Literal["sum", "max"] = "sum",
    ) -> None:
        self.add_state(name, torch.zeros(shape, dtype=dtype), dist_reduce_fx=reduce)

    def _apply(self, fn: Callable[[Tensor], Tensor], exclude_state: Sequence[str] = "") -> nn.Module:
        return super()._apply(lambda x: x.to(fn(x).device), exclude_state)
