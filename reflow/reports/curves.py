"""How a figure went while a run was trained: by training step, and by the seconds that training took.

Left out: reading them (:mod:`reflow.config.curves`), drawing them (:mod:`reflow.reports.curves_figure`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

_CURVE = re.compile(r"student/endpoint_error(_to_reference)?@\d+")


@dataclass(frozen=True)
class Curve:
    """One figure of one run, as its validations found it.

    Attributes:
        steps: training steps taken, ascending.
        seconds: that training them took, without the validations.
        values: of the figure.
    """

    steps: tuple[int, ...]
    seconds: tuple[float, ...]
    values: tuple[float, ...]

    def at(self, seconds: float) -> float | None:
        """The figure after so many seconds, on a straight line between two validations.

        None before the first and after the last validation.
        """
        if not self.seconds[0] <= seconds <= self.seconds[-1]:
            return None
        return float(np.interp(seconds, self.seconds, self.values))


def has_curve(metric: str) -> bool:
    """Whether a metric is one whose way during training is compared: the student's endpoint errors."""
    return _CURVE.fullmatch(metric) is not None


def name_after(metric: str, seconds: float) -> str:
    """What a metric at a time of training is called."""
    return f"{metric} after {seconds:g} s"
