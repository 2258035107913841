"""What a chunk costs in deployment, and what each way to compute velocities buys."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from reflow.policies import Batch, FlowPolicy, velocity_ways, with_velocity
from reflow.probes.clock import seconds_of
from reflow.probes.latency import measure_latency
from reflow.reports import Latency
from reflow.speed.graphed import GraphedWalk, NotRecordableError
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


WAYS = ("eager", "compiled", "graphed")
"""How a chunk is run: as Python says it, through ``torch.compile``, or replayed from a CUDA graph."""


@dataclass(frozen=True)
class WayCost:
    """A chunk of one policy, run in one way.

    Attributes:
        policy: ``teacher`` or ``student``.
        nfe: its steps.
        way: one of :data:`WAYS`.
        velocities_ms: the integration alone; a graph's with the copy of the observation into its memory.
        chunk_ms: encoding, in Python in every way, and integration.
        relative_difference: of its endpoint from the eager one, ``||x - x_eager|| / ||x_eager||``.
        why_not: why the policy cannot be run so; the figures are None then.
    """

    policy: str
    nfe: int
    way: str
    velocities_ms: Spread | None = None
    chunk_ms: Spread | None = None
    relative_difference: float | None = None
    why_not: str | None = None


def compare_ways(
    policies: Mapping[str, tuple[FlowPolicy, int]],
    batch: Batch,
    ways: Sequence[str],
    *,
    repeats: int = 5,
    warmup: int = 3,
) -> list[WayCost]:
    """Chunks of one observation in several ways, in turn.

    Args:
        policies: by name, each with its steps.
        batch: one observation.
        ways: of :data:`WAYS`.
        repeats: that count.
        warmup: before those; in the first of them ``compiled`` compiles.

    Raises:
        UserError: ``graphed`` without a GPU.
    """
    found: list[WayCost] = []
    with torch.inference_mode():
        for name, (flow, steps) in policies.items():
            space, device = flow.space, next(flow.parameters()).device
            noise = torch.randn(1, 1, space.chunk_size, space.max_action_dim, device=device)
            context = flow.encode(batch)
            asks: dict[str, Callable[[Any], Tensor]] = {}
            for way in ways:
                try:
                    asks[way] = _integration(flow, way, context, noise, steps)
                except (NotRecordableError, NoSuchWayError) as error:
                    found.append(WayCost(name, steps, way, why_not=str(error)))
            eager = flow.walk(context, noise, steps)
            apart = {way: ((ask(context) - eager).norm() / eager.norm()).item() for way, ask in asks.items()}
            works = {
                way: (partial(ask, context), lambda ask=ask, flow=flow: ask(flow.encode(batch)))
                for way, ask in asks.items()
            }
            spent = [
                [[seconds_of(work, device) for work in pair] for pair in works.values()]
                for _ in range(warmup + repeats)
            ]
            times = 1e3 * np.asarray(spent[warmup:]).transpose(1, 2, 0)  # [ways, 2, repeats]
            found += [
                WayCost(name, steps, way, Spread.of(walks), Spread.of(chunks), apart[way])
                for way, (walks, chunks) in zip(works, times, strict=True)
            ]
    return found


class NoSuchWayError(Exception):
    """The policy cannot be run so."""


def _integration(
    flow: FlowPolicy, way: str, context: Any, noise: Tensor, steps: int
) -> Callable[[Any], Tensor]:
    if way == "graphed":
        walk = GraphedWalk(flow, context, noise, steps)
        return lambda other: walk(other, noise)
    if way == "compiled":
        if way not in velocity_ways(flow):
            raise NoSuchWayError(f"a policy of type {flow.config.type} has no compiled velocity")
        flow = with_velocity(flow, way)
    return lambda other: flow.walk(other, noise, steps)


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
