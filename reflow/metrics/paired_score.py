"""The score test of a difference between two success rates on the same episodes, and its interval.

Left out: what is said of two policies by it (`reflow.metrics.paired`).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.stats import norm

type Counts = float | int | NDArray[np.float64]


def tango_interval(
    only_first: int, only_second: int, n: int, confidence: float = 0.95
) -> tuple[float, float]:
    """Compute the score interval of a difference of paired success rates.

    Tango 1998, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design". It holds what the score test of a difference does not reject, so that it has a width even where no
    pair differs, and an end beyond ``-margin`` is the same as a test against that margin.

    Args:
        only_first: Pairs in which only the first succeeded.
        only_second: Pairs in which only the second did.
        n: Pairs, at least their sum and at least 1.
        confidence: Of the two-sided interval, between 0 and 1.

    Returns:
        The lower and the upper end of the difference first less second, each in [-1, 1].
    """
    z = float(norm.ppf((1 + confidence) / 2))

    def lower(b: int, c: int) -> float:
        # Just below the difference seen, where the statistic may be 0 / 0.
        return (
            -1.0 if c == n else float(brentq(lambda d: score_excess(b, c, n, d, z), -1.0, (b - c) / n - 1e-9))
        )

    return lower(only_first, only_second), -lower(only_second, only_first)


def score_excess(b: Counts, c: Counts, n: int, d: float, z: float) -> Counts:
    """Compute by how much ``b - c`` exceeds what a difference of ``d`` lets expect, and ``z`` standard errors more.

    Its sign is that of Tango's test: above 0 where a difference of at most ``d`` is rejected. ``q`` is the
    likeliest rate of ``c`` given ``d``.

    Args:
        b: Pairs in which only the first succeeded; a number, or an array of any shape.
        c: Pairs in which only the second did, likewise.
        n: Pairs.
        d: A difference of success rates, -1 to 1.
        z: Critical value of the standard normal distribution.

    Returns:
        A number of pairs, of the shape of ``b`` and ``c``.
    """
    half = ((2 * n - b + c) * d - b - c) / (4 * n)
    q = np.sqrt(np.maximum(half**2 + c * d * (1 - d) / (2 * n), 0.0)) - half
    excess: Counts = b - c - n * d - z * np.sqrt(np.maximum(n * (2 * q + d * (1 - d)), 0.0))
    return excess
