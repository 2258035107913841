"""How long a policy thinks: encoding the observation and integrating from noise, timed apart.

A chunk costs one ``encode`` (cameras, language, state) and as many velocities as there are steps; distillation
makes the second part shorter. Left out: processors and simulator, which are the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import torch
from lerobot.utils.constants import OBS_STATE

from reflow.errors import UserError
from reflow.policies import Batch, FlowPolicy
from reflow.probes.clock import seconds_of_stages
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observed
from reflow.reports import Latency


def measure_latency(
    name: str,
    flow: FlowPolicy,
    batch: Batch,
    nfe: Sequence[int],
    *,
    repeats: int = 50,
    warmup: int = 5,
) -> list[Latency]:
    """Times chunks as they are deployed: one observation, one noise.

    Args:
        name: of the policy.
        flow: the policy, where it is to run.
        batch: one observation as the policy's preprocessor leaves it.
        nfe: numbers of Euler steps.
        repeats: timed chunks for each.
        warmup: chunks before those.

    Returns:
        Median and 95th percentile in ms, one entry per number of steps. All share the timed looks; a total is the
        sum of a look and the walk from it.

    Raises:
        UserError: the batch holds more or less than one observation, or a number is out of range.
    """
    size = batch[OBS_STATE].shape[0]
    if size != 1:
        raise UserError(f"batch holds {size} observations; a robot has 1 at a time: give one")
    if repeats < 1 or warmup < 0 or not nfe or min(nfe) < 1:
        raise UserError(
            f"repeats={repeats}, warmup={warmup}, nfe={list(nfe)}; allowed: 1 or more, 0 or more, and steps from 1"
        )
    device, space = next(flow.parameters()).device, flow.space
    noise = torch.zeros(1, 1, space.chunk_size, space.max_action_dim, device=device)

    def walked(steps: int, context: Any) -> Any:
        flow.walk(context, noise, steps)
        return context  # the next number of steps starts from it, too

    stages: list[Callable[[Any], Any]] = [flow.encode, *(partial(walked, steps) for steps in nfe)]
    with torch.inference_mode():
        spent = [seconds_of_stages(stages, batch, device) for _ in range(warmup + repeats)]
    prefix, *velocity = np.transpose(spent[warmup:])
    return [_latency(name, steps, prefix * 1e3, row * 1e3) for steps, row in zip(nfe, velocity, strict=True)]


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
            for key, value in asdict(row).items():
                if key.endswith("_ms"):
                    found[f"latency/{who}@{row.nfe}/{key.removesuffix('_ms')}"] = value
    return figures(found)


def _latency(name: str, nfe: int, prefix: np.ndarray, velocity: np.ndarray) -> Latency:
    (prefix_50, prefix_95), (velocity_50, velocity_95), (total_50, total_95) = (
        np.percentile(times, (50, 95)).tolist() for times in (prefix, velocity, prefix + velocity)
    )
    return Latency(
        name=name,
        nfe=nfe,
        prefix_p50_ms=prefix_50,
        prefix_p95_ms=prefix_95,
        velocity_p50_ms=velocity_50,
        velocity_p95_ms=velocity_95,
        total_p50_ms=total_50,
        total_p95_ms=total_95,
    )
