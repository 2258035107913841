"""The race of :mod:`reflow.speed.quality`: students trained in turn, measured on the same held-out chunks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import torch

from reflow.data import SAMPLE, LeRobotDataModule
from reflow.flow import Draws, GridTime, PaddingRule
from reflow.metrics import EndpointError
from reflow.policies import VISION, FlowPolicy, StorablePrefix
from reflow.probes import Observations, Observed
from reflow.speed.conditions import Conditions
from reflow.speed.disk import PairsOnDisk
from reflow.speed.geometry import Place
from reflow.speed.quality import OUR_TIMES, Point, QualitySettings, Racer, contender
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.variants import REFERENCE
from reflow.speed.workshop import Workshop


@torch.no_grad()
def held_out_chunks(
    teacher: FlowPolicy, data: LeRobotDataModule, observations: int, draws: int, seed: int
) -> list[Observed]:
    """What every student is measured on: held-out observations, and where the teacher ends.

    Args:
        teacher: takes its own steps, from noise of native width, as deployed.
        data: whose held-out frames are meant.
        observations: at most so many.
        draws: noises for each.
        seed: of the noise.
    """
    by, found, left = Observations({"teacher": teacher}, Draws(seed), draws), list[Observed](), observations
    for whole in data.val_dataloader():
        if left <= 0:
            break
        size = len(whole[SAMPLE])
        batch = teacher.rows(whole, size, min(left, size))
        left -= size
        if isinstance(teacher, StorablePrefix):  # features take less room than images
            features = teacher.vision_features(batch)
            batch = {key: value for key, value in batch.items() if key not in teacher.config.image_features}
            batch[VISION] = features
        seen = by.see(batch)
        seen.end("teacher")
        seen.known.pop(("teacher", "context"))  # it takes much room, and every student encodes for itself
        found.append(seen)
    return found


@torch.no_grad()
def endpoint_error(student: FlowPolicy, chunks: Sequence[Observed]) -> float:
    """Endpoint error@1 of a student: :class:`reflow.metrics.EndpointError` after one step."""
    error = EndpointError(student.space).to(chunks[0].by.device)
    for seen in chunks:
        error.update(student.walk(student.encode(seen.batch), seen.randn, 1), seen.endpoint)
    return error.compute().item()


def race(
    place: Place,
    settings: QualitySettings,
    *,
    pairs: PairsOnDisk | None = None,
    device: str = "cpu",
    precision: str = "32-true",
    velocity: str | None = "shared",
    show: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Trains every contender until the smallest goal, or until its budget is spent.

    Args:
        place: of policy and data.
        settings: of the race.
        pairs: for contenders that read them; all its draws are met.
        device: ``cpu`` or ``cuda``.
        precision: of both sides' training; measuring is in float32.
        velocity: how ours computes velocities.
        show: is told what runs.

    Returns:
        Plain values: settings, and each contender's curve and times to the goals.
    """

    def conditions(draws: int) -> Conditions:
        return Conditions(
            settings.observations(draws),
            settings.pool,
            precision,
            velocity,
            device,
            warmup_steps=settings.warmup_steps,
            lr=settings.lr,
            decay=settings.ema,
            seed=settings.seed,
        )

    torch.manual_seed(settings.seed)  # LeRobot's training forward draws its times from the global generator
    show("loading")
    first = Workshop(place, conditions(1))
    chunks = held_out_chunks(
        first.teacher, first.data, settings.held_out, settings.held_out_draws, settings.seed
    )
    racers = []
    for name in settings.contenders:
        _, draws = contender(name)
        workshop = Workshop(place, conditions(draws), pairs=pairs, beside=first)
        racers.append(_racer(name, workshop, settings))
    watch = Stopwatch(device, coarse=True)
    for racer in racers:
        racer.curve.append(Point(0.0, 0, 0, endpoint_error(racer.student, chunks)))
    running = list(racers)
    while running:
        for racer in list(running):
            last = racer.curve[-1]
            show(f"{racer.variant.name}: {last.seconds:.0f} s, error {100 * last.error:.1f} %")
            seconds, step = racer.run(settings.every, settings.budget, watch)
            error = endpoint_error(racer.delivered, chunks)
            racer.diverged = not math.isfinite(error)
            if not racer.diverged:
                racer.curve.append(Point(seconds, step, step * racer.variant.pairs, error))
            if racer.diverged or error <= min(settings.goals) or seconds >= settings.budget:
                running.remove(racer)
    return {"settings": asdict(settings), "contenders": [racer.as_json(settings.goals) for racer in racers]}


def _racer(name: str, workshop: Workshop, settings: QualitySettings) -> Racer:
    kind, draws = contender(name)
    if kind in (REFERENCE, OUR_TIMES):
        space, extent = workshop.teacher.space, settings.reference_padding
        rule = PaddingRule(space, extent, extent, extent)
        variant = workshop.reference(name, rule, GridTime(1) if kind == OUR_TIMES else None)
        return Racer(variant, workshop.founding_student)
    if kind == "live":
        live = iter(workshop.data.train_dataloader())
        return Racer(workshop.ours(name, workshop.module(draws), live), workshop.student)
    variant = workshop.stored(name, draws, "prefix" if kind == "pairs+prefix" else None)
    fill_seconds = None if workshop.pairs is None else workshop.pairs.seconds
    return Racer(variant, workshop.student, fill_seconds)
