"""The conditions under which contenders meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflow.errors import UserError


def check_settings(
    settings: object, least: Mapping[str, int], allowed: Mapping[str, Sequence[str]], prefix: str = ""
) -> None:
    """Refuses numbers that are too small and words that are not known.

    Args:
        settings: with the fields that are named.
        least: by field.
        allowed: words, by field.
        prefix: of the fields as users write them.

    Raises:
        UserError: names the field, its value and what is allowed.
    """
    for name, bound in least.items():
        if getattr(settings, name) < bound:
            raise UserError(f"{prefix}{name}={getattr(settings, name)}; allowed: {bound} or more")
    for name, words in allowed.items():
        if getattr(settings, name) not in words:
            raise UserError(f"{prefix}{name}={getattr(settings, name)}; allowed: {', '.join(words)}")


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
