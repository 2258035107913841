"""How long each contender thinks on this machine: measured once for a folder of results, then read from there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from reflow.evaluation.folders import Who
from reflow.evaluation.result_folder import ResultFolder
from reflow.probes import Observed
from reflow.probes.latency import measure_latency


def measured_latencies(
    results: ResultFolder,
    identity: Mapping[str, Any],
    steps: Mapping[Who, Sequence[int]],
    observe: Callable[[], Observed],
    chunks: int,
) -> dict[str, float]:
    """The latency of a stock chunk, median: encoding, and the walk from there, on one thread, as players have it.

    Args:
        results: what was measured there before is taken from there, so that an evaluation goes on as it began.
        identity: of policies and device; flat, JSON-able.
        steps: step counts of each policy.
        observe: gives one observation; asked where something is still to be measured.
        chunks: timed for each, 1 or more.

    Returns:
        In ms, by ``teacher@10``.

    Raises:
        OtherResultsError: the folder holds the latencies of other policies, or of another device.
    """
    wanted = {who: list(counts) for who, counts in steps.items()}
    found = results.latencies(identity)
    missing = {who: [n for n in counts if f"{who}@{n}" not in found] for who, counts in wanted.items()}
    if any(missing.values()):
        seen = observe()
        with _one_thread():
            for who, counts in missing.items():
                if counts:
                    rows = measure_latency(who, seen.by.policies[who], seen.batch, counts, repeats=chunks)
                    found |= {f"{who}@{row.nfe}": row.total_p50_ms for row in rows}
        results.keep_latencies(identity, found)
    return {f"{who}@{n}": found[f"{who}@{n}"] for who, counts in wanted.items() for n in counts}


@contextmanager
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
