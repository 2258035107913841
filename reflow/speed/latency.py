"""What a chunk costs in deployment, and what each way to compute velocities buys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reflow.policies import Batch, FlowPolicy, with_velocity
from reflow.probes.clock import seconds_of
from reflow.probes.latency import measure_latency
from reflow.reports import Latency
from reflow.speed.summary import Spread


@dataclass(frozen=True)
class Deployed:
    """Latency of both policies, as stock LeRobot and as its two halves.

    Attributes:
        rows: prefix and velocities of both, in ms.
        stock_ms: a chunk of the one-step student by LeRobot's own ``predict_action_chunk``.
        floor_ms: one prefix and one velocity, nothing else.
        over_floor: the one over the other, of the same repeat.
    """

    rows: list[Latency]
    stock_ms: Spread
    floor_ms: Spread
    over_floor: Spread


def deployed_latency(
    teacher: FlowPolicy, student: FlowPolicy, batch: Batch, *, repeats: int = 5, warmup: int = 1
) -> Deployed:
    """Times chunks of one observation.

    Args:
        teacher: at its own number of steps.
        student: at one step.
        batch: one observation.
        repeats: that count.
        warmup: before those.

    Raises:
        UserError: as :func:`reflow.probes.latency.measure_latency`.
    """
    rows = measure_latency("teacher", teacher, batch, [teacher.num_steps], repeats=repeats, warmup=warmup)
    rows += measure_latency("student", student, batch, [1], repeats=repeats, warmup=warmup)
    space, device = student.space, next(student.parameters()).device
    noise = torch.zeros(1, 1, space.chunk_size, space.max_action_dim, device=device)
    one = torch.ones(1, 1, device=device)
    asks: tuple[Callable[[], Tensor], ...] = (
        lambda: student.stock_chunk(batch, noise[:, 0]),
        lambda: student.velocity(student.encode(batch), noise, one),
    )
    steps, student.num_steps = student.num_steps, 1
    with torch.inference_mode():
        spent = [[seconds_of(ask, device) for ask in asks] for _ in range(warmup + repeats)]
    student.num_steps = steps
    stock, floor = 1e3 * np.transpose(spent[warmup:])
    return Deployed(rows, Spread.of(stock), Spread.of(floor), Spread.of(stock / floor))


@dataclass(frozen=True)
class VelocityCost:
    """One way to compute velocities.

    Attributes:
        by: ``stock``, ``shared``, ``compiled``.
        draws: noises per observation.
        forward_ms, training_ms: per pair; the second with backward.
        relative_difference: largest of any pair from stock, ``||v - v_stock|| / ||v_stock||``.
    """

    by: str
    draws: int
    forward_ms: Spread
    training_ms: Spread
    relative_difference: float


def compare_velocities(
    student: FlowPolicy,
    context: Any,
    ways: Sequence[str],
    *,
    draws: int,
    observations: int,
    repeats: int = 5,
    seed: int = 0,
    autocast: Callable[[], Any],
) -> list[VelocityCost]:
    """Every way to compute velocities, in turn, on the same points.

    Args:
        student: with open parameters.
        context: of the observations.
        ways: to compare; the differences are those from ``stock``, whether it is among them or not.
        draws: noises per observation.
        observations: in the context.
        repeats: that count, after one that does not.
        seed: of the noise.
        autocast: makes the context of forward passes.
    """
    device, space = next(student.parameters()).device, student.space
    generator = torch.Generator().manual_seed(seed)
    shape = (observations, draws, space.chunk_size, space.max_action_dim)
    x_t = torch.randn(shape, generator=generator).to(device)
    t = torch.rand(shape[:2], generator=generator).to(device)

    asked = {way: with_velocity(student, way) for way in (*ways, FlowPolicy.velocity_way)}

    def forward(way: str) -> Tensor:
        with torch.no_grad(), autocast():
            return asked[way].velocity(context, x_t, t)

    def training(way: str) -> Tensor:
        student.zero_grad(set_to_none=True)
        with autocast():
            loss = asked[way].velocity(context, x_t, t).square().mean()
        loss.backward()
        return loss

    differences: dict[str, float] = {}
    stock = forward(FlowPolicy.velocity_way)
    for way in ways:
        difference = (forward(way) - stock).flatten(2).norm(dim=2) / stock.flatten(2).norm(dim=2)
        differences[way] = difference.max().item()
        training(way)
    spent = [
        [[seconds_of(partial(ask, way), device) for ask in (forward, training)] for way in ways]
        for _ in range(repeats)
    ]
    student.zero_grad(set_to_none=True)
    times = 1e3 / (draws * observations) * np.asarray(spent)  # [repeats, ways, 2]
    return [
        VelocityCost(way, draws, Spread.of(forwards), Spread.of(trainings), differences[way])
        for way, (forwards, trainings) in zip(ways, times.transpose(1, 2, 0), strict=True)
    ]
