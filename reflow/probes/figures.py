"""What a probe finds out: flat figures, and the arrays that pictures are drawn from.

Left out: files. ``reflow.evaluation.result_folder`` and ``reflow.distill.report`` write them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from reflow.probes.observations import STUDENT


@dataclass(frozen=True)
class Figures:
    """Figures by name, as the report page knows them.

    A probe leaves out what has no meaning for these policies and data. So a number that is not finite is never that,
    but something to be told.

    Attributes:
        metrics: one number each.
        arrays: float32, for pictures.
    """

    metrics: dict[str, float] = field(default_factory=dict)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def __or__(self, other: Figures) -> Figures:
        return Figures(self.metrics | other.metrics, self.arrays | other.arrays)


def figures(
    metrics: Mapping[str, float | Tensor], arrays: Mapping[str, np.ndarray | Tensor] | None = None
) -> Figures:
    """Plain numbers out of tensors.

    Args:
        metrics: scalars.
        arrays: of any shape; on any device.
    """
    return Figures(
        {name: float(value) for name, value in metrics.items()},
        {name: _float32(value) for name, value in (arrays or {}).items()},
    )


def named(figure: str, who: str) -> str:
    """The name of a policy's figure: ``deploy/loss`` is the student's, ``deploy/teacher/loss`` the teacher's."""
    group, _, rest = figure.partition("/")
    return figure if who == STUDENT else f"{group}/{who}/{rest}"


def _float32(value: np.ndarray | Tensor) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, Tensor) else value
    return np.ascontiguousarray(array, dtype=np.float32)
