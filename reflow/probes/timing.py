"""Latency of both policies as flat figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.policies import Batch
from reflow.probes.figures import Figures, figures
from reflow.probes.latency import measure_latency
from reflow.probes.observations import WHO, Pair

_UNIT = "_ms"


def time_both(pair: Pair, batch: Batch, nfe: Sequence[int], chunks: int) -> Figures:
    """Figures ``latency/<who>@n/{prefix,velocity,total}_{p50,p95}``, in ms.

    Args:
        pair: who is timed.
        batch: one preprocessed observation.
        nfe: step counts.
        chunks: timed for each of them.
    """
    batch = {
        key: value.to(pair.device) if isinstance(value, Tensor) else value
        for key, value in batch.items()
        if key not in (SAMPLE, VISIT)
    }
    found: dict[str, float] = {}
    for who in WHO:
        for row in measure_latency(who, pair.policy(who), batch, nfe, repeats=chunks):
            times = {key: value for key, value in asdict(row).items() if key.endswith(_UNIT)}
            found |= {
                f"latency/{who}@{row.nfe}/{key.removesuffix(_UNIT)}": value for key, value in times.items()
            }
    return figures(found)
