"""Confidence intervals of a success rate. Left out: comparisons of two rates."""

from math import sqrt
from statistics import NormalDist

from reflow.errors import UserError


def wilson_interval(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Compute the score interval of a success rate (Wilson 1927, "Probable Inference").

    Unlike the usual ``p +- z * sqrt(p (1 - p) / n)`` it stays within [0, 1] and has a width even where all or
    none succeeded, so that it means something after a few dozen rollouts.

    Args:
        successes: How many succeeded, 0 to ``n``.
        n: How many were tried, at least 1.
        confidence: Of the two-sided interval, between 0 and 1.

    Returns:
        The lower and the upper end, each in [0, 1].

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> low, high = wilson_interval(3, 40)
        >>> f"{low:.3f} to {high:.3f}"
        '0.026 to 0.199'
    """
    if n < 1:
        raise UserError(f"n is {n}; allowed: 1 or more; a rate needs a try")
    if not 0 <= successes <= n:
        raise UserError(f"successes is {successes}; allowed: 0 to n = {n}; count each try once")
    if not 0 < confidence < 1:
        raise UserError(f"confidence is {confidence}; allowed: above 0 and below 1; 0.95 is usual")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = successes / n, z**2 / n
    centre = rate + weight / 2
    margin = z * sqrt(rate * (1 - rate) / n + (z / n) ** 2 / 4)
    # The formula gives exactly 0 and 1 there; rounding need not.
    low = 0.0 if successes == 0 else (centre - margin) / (1 + weight)
    high = 1.0 if successes == n else (centre + margin) / (1 + weight)
    return low, high
