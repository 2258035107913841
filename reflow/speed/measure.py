"""The whole measurement of one size: memory, rounds, latency, velocities; plain values in, plain values out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from lerobot.utils.constants import OBS_STATE

from reflow.errors import UserError
from reflow.policies import Batch, velocity_ways
from reflow.speed.conditions import Conditions, check_settings
from reflow.speed.disk import PairsOnDisk
from reflow.speed.geometry import Geometry, Place
from reflow.speed.hardware import count_flops, hardware_here, peak_flops
from reflow.speed.latency import WAYS, compare_velocities, compare_ways, deployed_latency
from reflow.speed.memory import peak_alone
from reflow.speed.rounds import interleave
from reflow.speed.summary import summarize
from reflow.speed.training import PRECISIONS, autocast
from reflow.speed.variants import ALONE, LIMIT, REFERENCE, STORES, draws_of, live
from reflow.speed.workshop import Workshop

DEFAULT_VARIANTS = (REFERENCE, *(live(draws) for draws in (1, 4, 8, 16)), *STORES, LIMIT)


@dataclass(frozen=True)
class SpeedSettings:
    """What is measured, and how often.

    Attributes:
        variants: contenders; the reference is always among them, as all is told in ratios to it.
        rounds, warmup: of the contenders, in turn.
        batch_size: observations per step.
        draws: noises per observation of contenders that read ready pairs.
        precision: ``32-true`` or ``bf16-mixed``, of both sides.
        velocity: how ours computes velocities; None for the way that suits training.
        compile: compare ``compiled`` with the other ways too.
        latency_repeats, velocity_repeats: 0 leaves that out.
        latency_ways: in which chunks are run beside that (:data:`reflow.speed.latency.WAYS`); empty leaves it out.
        memory: whether the peak memory of each contender is measured.
        seed: of order, noise and time.

    Raises:
        UserError: a number is out of range, or there is no such contender.
    """

    variants: tuple[str, ...] = DEFAULT_VARIANTS
    rounds: int = 5
    warmup: int = 1
    batch_size: int = 1
    draws: int = 8
    precision: str = "32-true"
    velocity: str | None = None
    compile: bool = False
    latency_repeats: int = 5
    latency_ways: tuple[str, ...] = ()
    velocity_repeats: int = 5
    memory: bool = True
    seed: int = 0

    @property
    def stores(self) -> set[str]:
        """What the contenders want stored beside the endpoints."""
        return {store for name in self.variants if (store := STORES.get(name))}

    @property
    def reads_pairs(self) -> bool:
        """Whether any contender reads a pair cache."""
        return any(name in STORES for name in self.variants)

    def __post_init__(self) -> None:
        least = dict.fromkeys(("warmup", "latency_repeats", "velocity_repeats", "seed"), 0)
        least |= dict.fromkeys(("rounds", "batch_size", "draws"), 1)
        check_settings(self, least, {"precision": PRECISIONS})
        if unknown := [way for way in self.latency_ways if way not in WAYS]:
            raise UserError(f"latency_ways holds {unknown[0]}; allowed: {', '.join(WAYS)}")
        for name in self.variants:
            draws_of(name, self.draws)
        if len(set(self.variants)) < len(self.variants) or REFERENCE not in self.variants:
            raise UserError(
                f"variants={list(self.variants)}; allowed: each once, and {REFERENCE} among them, because all is "
                "told in ratios to it"
            )


def measure(
    geometry: Geometry,
    place: Place,
    settings: SpeedSettings,
    device: str,
    pairs: PairsOnDisk | None = None,
    show: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Measures one size under one set of conditions.

    Args:
        geometry: what ``place`` holds.
        place: of policy and data.
        settings: how much.
        device: ``cpu`` or ``cuda``.
        pairs: for contenders that read them.
        show: is told what runs.

    Returns:
        Plain values, as they go into ``benchmark.json``: ``hardware`` (machine, device, versions), ``settings``,
        ``geometry``, ``rounds`` (every step of every contender, raw seconds), ``standings`` (what follows from them),
        ``memory`` (peaks), ``latency`` of deployment or None, ``ways`` (to run a chunk), ``velocities`` (ways to
        compute them), ``flops`` (of a step by contender, and shares of the peak, on a GPU).
    """
    conditions = Conditions(
        settings.batch_size,
        settings.draws,
        settings.precision,
        settings.velocity,
        device,
        seed=settings.seed,
    )
    found: dict[str, Any] = {
        "hardware": hardware_here(device),
        "settings": asdict(settings),
        "geometry": asdict(geometry),
        "memory": [],
        "flops": [],
        "latency": None,
        "ways": [],
        "velocities": [],
    }
    if settings.memory:  # before anything is loaded here
        for name in (*(name for name in settings.variants if name != LIMIT), ALONE):
            show(f"memory: {name}")
            found["memory"].append(peak_alone(place, conditions, name, pairs=pairs).as_json())

    torch.manual_seed(settings.seed)  # LeRobot's training forward draws its times from the global generator
    show("loading")
    workshop = Workshop(place, conditions, pairs=pairs)
    variants = [workshop.variant(name) for name in settings.variants]
    records = list(
        interleave(variants, rounds=settings.rounds, warmup=settings.warmup, device=device, show=show)
    )
    standings = summarize(records)
    found |= {"rounds": [*map(asdict, records)], "standings": [*map(asdict, standings)]}
    if device != "cpu":
        peak = peak_flops(found["hardware"]["gpu"], settings.precision)
        for variant, standing in zip(variants, standings, strict=True):
            show(f"operations: {variant.name}")
            count = count_flops(variant)
            rate = count / variant.pairs * standing.pairs_per_second.median
            share = None if peak is None else rate / peak
            found["flops"].append(
                {"variant": variant.name, "per_step": count, "rate": rate, "share_of_peak": share}
            )

    batch = next(iter(workshop.data.train_dataloader()))
    if settings.latency_repeats:
        show("latency")
        one = workshop.teacher.rows(batch, len(batch[OBS_STATE]), 1)
        with autocast(settings.precision, device):
            latency = deployed_latency(
                workshop.teacher, workshop.student, one, repeats=settings.latency_repeats
            )
            if settings.latency_ways:
                show("latency: " + ", ".join(settings.latency_ways))
                teacher, student = workshop.teacher, workshop.student
                policies = {"teacher": (teacher, teacher.num_steps), "student": (student, 1)}
                ways = compare_ways(policies, one, settings.latency_ways, repeats=settings.latency_repeats)
                found["ways"] = [asdict(way) for way in ways]
        found["latency"] = asdict(latency)
    if settings.velocity_repeats:
        show("velocities")
        found["velocities"] = _velocities(workshop, settings, batch)
    return found


def _velocities(workshop: Workshop, settings: SpeedSettings, batch: Batch) -> list[dict[str, Any]]:
    device = workshop.conditions.device
    with torch.no_grad(), autocast(settings.precision, device):
        context = workshop.student.encode(batch)
    ways = [way for way in velocity_ways(workshop.student) if settings.compile or way != "compiled"]
    costs = compare_velocities(
        workshop.student,
        context,
        ways,
        draws=settings.draws,
        observations=len(batch[OBS_STATE]),
        repeats=settings.velocity_repeats,
        seed=settings.seed,
        autocast=lambda: autocast(settings.precision, device),
    )
    return [asdict(cost) for cost in costs]
