"""Two clouds of chunks for the same observation, one chunk per noise: what distribution metrics have in common.

Left out: what is computed of the two. And the drawing: for a comparison with a null (two clouds of the teacher)
the noises of ``x`` and ``reference`` must be different ones, or the two are closer than chance.
"""

from abc import ABC, abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


class CloudMetric(ChunkMetric, ABC):
    """Keeps sums, over observations, of figures that compare two clouds of chunks.

    A chunk is a point: its real dimensions, all steps in a row. Which figures these are is the subclass's
    `_figures`.

    Args:
        space: Knows which dimensions are real.
        figures: How many figures each observation has.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Raises:
        UserError: If ``least`` is below 2.
    """

    total: Tensor
    count: Tensor

    def __init__(self, space: ActionSpace, figures: int = 1, least: int = 64, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        if least < 2:
            raise UserError(
                f"least is {least}; allowed: 2 or more; a single noise has no spread, 64 have some"
            )
        self.least = least
        self._add_state("total", figures)
        self._add_state("count", dtype=torch.int64)

    @abstractmethod
    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        """Compare the two clouds of one observation; ``[figures]``, or a scalar where there is one."""

    def update(
        self,
        x: Float[Tensor, "*observations n h d"],
        reference: Float[Tensor, "*observations m h d"],
    ) -> None:
        """Add observations.

        Args:
            x: Chunks of the policy in question from ``n`` noises, ``[*observations, n, h, d]``.
            reference: Chunks of the teacher from ``m`` other noises, ``[*observations, m, h, d]``.

        Raises:
            UserError: If the shapes do not fit, are not at native width, or a cloud has fewer than ``least``
                noises.
        """
        for cloud, other in zip(self._points("x", x), self._points("reference", reference, x), strict=True):
            self.total += self._figures(cloud, other)
            self.count += 1

    def _points(self, name: str, x: Tensor, beside: Tensor | None = None) -> Float64[Tensor, "b n w"]:
        check_chunks(**{name: x})
        real = self.space.real(x)
        if x.ndim < 3:
            raise UserError(
                f"{name} has shape {tuple(x.shape)}; allowed: [..., noises, chunk_size, max_action_dim]; stack the "
                "chunks of one observation, one per noise"
            )
        if x.shape[-3] < self.least:
            raise UserError(
                f"{name} has {x.shape[-3]} noises per observation; allowed: {self.least} or more: fewer say "
                f"little about a distribution; give the evaluation noises={self.least}"
            )
        if beside is not None and (x.shape[:-3], x.shape[-2]) != (beside.shape[:-3], beside.shape[-2]):
            raise UserError(
                f"{name} has shape {tuple(x.shape)}, x {tuple(beside.shape)}; they must be equal but for the "
                "number of noises: each observation has two clouds of chunks of one length"
            )
        return real.double().flatten(-2).reshape(-1, x.shape[-3], x.shape[-2] * self.space.action_dim)


class CloudDistance(CloudMetric, ABC):
    """One figure per observation, averaged over observations.

    Args:
        space: Knows which dimensions are real.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.
    """

    higher_is_better = False

    def __init__(self, space: ActionSpace, least: int = 64, **kwargs: Any) -> None:
        super().__init__(space, least=least, **kwargs)

    def compute(self) -> Float64[Tensor, ""]:
        """Return the mean over all observations so far; nan before the first."""
        return self.total[0] / self.count
