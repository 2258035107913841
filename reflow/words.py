"""Sizes and durations as a person reads them."""

from __future__ import annotations


def size_words(count: float) -> str:
    """``1.5 GB``, in powers of ten.

    Example:
        >>> size_words(1_500_000_000)
        '1.5 GB'
    """
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 1000:
            break
        value, unit = value / 1000, larger
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:,.0f} {unit}"


def duration_words(seconds: float) -> str:
    """``0.5 s``, ``95 s``, ``12 min``, ``3.5 h``, ``2.1 days``.

    Example:
        >>> duration_words(5400)
        '90 min'
    """
    for limit, length, unit in ((120, 1, "s"), (7200, 60, "min"), (2 * 86_400, 3600, "h")):
        if seconds < limit:
            count = seconds / length
            return f"{count:.2g} {unit}" if count < 10 else f"{count:.0f} {unit}"
    return f"{seconds / 86_400:.3g} days"
