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
    """``95 s``, ``12 min``, ``3.5 h``.

    Example:
        >>> duration_words(5400)
        '90 min'
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
