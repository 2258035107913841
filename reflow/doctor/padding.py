"""The founding report's first check: what the teacher's endpoints hold on padding, and what re-padding does.

From these figures :mod:`reflow.doctor.regime` decides. Left out: the measuring (:mod:`reflow.probes`).
"""

from __future__ import annotations

from collections.abc import Mapping

from reflow.doctor.finding import Check, Table, rows
from reflow.doctor.regime import regime_findings
from reflow.flow import ActionSpace, PaddingRule

_STATISTICS = ("mean", "std", "abs_mean", "abs_max")
_NOISES = {"endpoint": "as deployed", "endpoint_zeroed": "padding zeroed"}


def padding_check(
    found: Mapping[str, float], space: ActionSpace, *, num_steps: int, rule: PaddingRule | None = None
) -> Check:
    """Says what the teacher's padding calls for.

    Args:
        found: figures of :class:`reflow.probes.PaddingAsDeployed` and :class:`reflow.probes.PaddingSupervision`.
        space: of its actions.
        num_steps: steps of the student asked about.
        rule: its padding rule, or None where none was asked about.
    """
    return Check("padding", {}, regime_findings(found, num_steps, rule), padding_tables(found, space))


def padding_tables(figures: Mapping[str, float], space: ActionSpace) -> tuple[Table, ...]:
    """The report's table: endpoints by part and noise, and full against re-padded endpoint.

    Re-padding sets padding to zero and leaves the rest: it changes padding by its absolute value, and nothing else.
    """
    there = [what for what in _NOISES if f"padding/teacher/{what}_mean" in figures] or ["endpoint"]
    lines = [
        (part, _NOISES[what], *(figures[f"{part}/teacher/{what}_{name}"] for name in _STATISTICS))
        for what in there
        for part in (("real", "padding") if space.padding_dim else ("real",))
    ]
    endpoints = Table(
        "teacher endpoints", ("dimensions", "noise", "mean", "std", "mean abs", "max abs"), rows(lines)
    )
    if not space.padding_dim:
        return (endpoints,)
    repadded: list[tuple[object, ...]] = []
    for what in there:
        largest, mean = (figures[f"padding/teacher/{what}_{name}"] for name in ("abs_max", "abs_mean"))
        share = space.padding_dim / space.max_action_dim
        repadded += [
            ("all", _NOISES[what], largest, mean * share),
            ("padding", _NOISES[what], largest, mean),
        ]
    columns = ("dimensions", "noise", "max", "mean")
    return (endpoints, Table("full against re-padded endpoint", columns, rows(repadded)))
