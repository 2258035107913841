"""What a probe finds out: flat figures, and the arrays that pictures are drawn from.

Left out: files. ``reflow.evaluation.result_folder`` writes them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from torch import Tensor

from reflow.probes.observations import Observed


@dataclass(frozen=True)
class Figures:
    """Figures by name, as the report page knows them.

    Attributes:
        metrics: one number each, all of them finite.
        arrays: float32, for pictures.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __or__(self, other: Figures) -> Figures:
        return Figures(self.metrics | other.metrics, self.arrays | other.arrays)


def figures(
    metrics: Mapping[str, float | Tensor], arrays: Mapping[str, np.ndarray | Tensor] | None = None
) -> Figures:
    """Plain numbers out of tensors; what is not finite was not measured, and is left out.

    Args:
        metrics: scalars.
        arrays: of any shape; on any device.
    """
    numbers = {name: float(value) for name, value in metrics.items()}
    return Figures(
        {name: value for name, value in numbers.items() if math.isfinite(value)},
        {name: _float32(value) for name, value in (arrays or {}).items()},
    )


class Probe(Protocol):
    """Looks at held-out observations, batch by batch, then says what it found."""

    def update(self, seen: Observed) -> None:
        """Adds a batch."""

    def result(self) -> Figures:
        """What was found in all batches together."""


def _float32(value: np.ndarray | Tensor) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return np.ascontiguousarray(array, dtype=np.float32)
