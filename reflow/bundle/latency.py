"""What a chunk costs on this machine, stage by stage and way by way: the table that people compare policies by.

The clock is the one of ``reflow.evaluate``. The ways take turns, chunk by chunk, so that what else runs on the
machine falls on all of them alike.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch

from reflow.bundle.ways import Way
from reflow.flow import Draws
from reflow.policies import FlowPolicy
from reflow.probes.clock import seconds_of_stages

STAGES = ("preprocessing", "prefix", "velocity", "postprocessing")
TOTAL = "total"


@dataclass(frozen=True)
class ChunkLatency:
    """One way, one observation at a time.

    Attributes:
        way: its name.
        num_steps: velocities of a chunk.
        chunks: timed.
        p50_ms, p95_ms: by stage, and ``total``; the velocity's are of all its steps.
        halves: what the way itself runs: 2 prefix and velocity, 1 the velocity alone.
    """

    way: str
    num_steps: int
    chunks: int
    p50_ms: dict[str, float]
    p95_ms: dict[str, float]
    halves: int = 2


def measure_chunks(
    flow: FlowPolicy, ways: Sequence[Way], raw: Sequence[dict[str, Any]], *, chunks: int, warmup: int = 3
) -> list[ChunkLatency]:
    """Times whole chunks: one observation, one noise.

    Args:
        flow: the policy, for its steps and its noise.
        ways: to run it.
        raw: observations, in turn.
        chunks: timed, of each way.
        warmup: chunks before those, a compiler's work among them.
    """
    noise = flow.noise(Draws(0), torch.zeros(1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long))
    stages: dict[str, list[Callable[[Any], Any]]] = {
        way.name: [
            way.preprocess,
            way.encode,
            partial(_walked, way, noise.to(way.device)),
            partial(_told, flow, way),
        ]
        for way in ways
    }
    spent: dict[str, list[list[float]]] = {way.name: [] for way in ways}
    with torch.inference_mode():
        for number in range(-warmup, chunks):
            for way in ways:
                seconds = seconds_of_stages(stages[way.name], dict(raw[number % len(raw)]), way.device)
                if number >= 0:
                    spent[way.name].append(seconds)
    return [_summary(way, flow.num_steps, np.asarray(spent[way.name])) for way in ways]


def _walked(way: Way, noise: torch.Tensor, context: Any) -> torch.Tensor:
    return way.walk(context, noise)


def _told(flow: FlowPolicy, way: Way, end: torch.Tensor) -> Any:
    return way.postprocess(flow.output(end)[0])


def _summary(way: Way, num_steps: int, seconds: np.ndarray) -> ChunkLatency:
    every = np.concatenate([seconds, seconds.sum(1, keepdims=True)], 1) * 1e3
    halfway, late = (
        dict(zip((*STAGES, TOTAL), np.percentile(every, percent, 0).tolist(), strict=True))
        for percent in (50, 95)
    )
    return ChunkLatency(way.name, num_steps, len(seconds), halfway, late, way.halves)
