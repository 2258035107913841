"""A check of every data set of a mixture, as one check. Left out: what is checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from reflow.data import OpenSource
from reflow.doctor.finding import Check


def of_each(sources: Sequence[OpenSource], look: Callable[[OpenSource], Check]) -> Check:
    """Looks at every data set.

    Args:
        sources: one or more.
        look: the check of one.

    Returns:
        Of a single data set its check as it is. Of several one check with the findings and tables of all, each named
        by its data set, and figures ``<number>/<figure>``, numbered as in ``data.mixture``.
    """
    checks = [look(source) for source in sources]
    if len(checks) == 1:
        return checks[0]
    both = list(zip(sources, checks, strict=True))
    return Check(
        checks[0].name,
        {f"{number}/{name}": x for number, check in enumerate(checks) for name, x in check.figures.items()},
        tuple(
            replace(found, what=f"{source.source}: {found.what}")
            for source, check in both
            for found in check.findings
        ),
        tuple(
            replace(table, title=f"{source.source}: {table.title}")
            for source, check in both
            for table in check.tables
        ),
    )
