"""Latency of every policy as flat figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reflow.probes.figures import Figures, figures
from reflow.probes.latency import measure_latency
from reflow.probes.observations import Observed

_UNIT = "_ms"


def time_all(seen: Observed, nfe: Sequence[int], chunks: int) -> Figures:
    """Figures ``latency/<who>@n/{prefix,velocity,total}_{p50,p95}``, in ms.

    Args:
        seen: one observation.
        nfe: step counts.
        chunks: timed for each of them.
    """
    found: dict[str, float] = {}
    for who, policy in seen.by.policies.items():
        for row in measure_latency(who, policy, seen.batch, nfe, repeats=chunks):
            times = {key: value for key, value in asdict(row).items() if key.endswith(_UNIT)}
            found |= {
                f"latency/{who}@{row.nfe}/{key.removesuffix(_UNIT)}": value for key, value in times.items()
            }
    return figures(found)
