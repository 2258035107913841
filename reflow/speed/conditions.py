"""The conditions under which contenders meet."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Conditions:
    """What is the same for every contender.

    Attributes:
        batch_size: observations per step.
        draws: noises per observation of the contenders that read ready pairs.
        precision: ``32-true`` or ``bf16-mixed``, of both sides.
        velocity: how ours computes velocities; None for the way that suits training; the reference is stock.
        device: ``cpu`` or ``cuda``.
        clip: largest norm of the gradient.
        warmup_steps, lr: of the optimizer; the rate is constant after the warm-up, and None is the preset's.
        decay: of an average of the weights; None for no average.
        seed: of order, noise and time.
    """

    batch_size: int
    draws: int = 8
    precision: str = "32-true"
    velocity: str | None = "stock"
    device: str = "cpu"
    clip: float = 10.0
    warmup_steps: int = 0
    lr: float | None = None
    decay: float | None = None
    seed: int = 0
