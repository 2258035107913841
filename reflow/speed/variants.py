"""The contenders: each a step that takes a batch from the data, makes a loss and trains on it.

Ours run :meth:`reflow.distill.module.Distillation.training_step`. All of ours share one student and optimizer,
so that many of them fit into memory beside the reference's two whole policies; a step costs the same whatever was
trained before. Left out: when each of them runs (:mod:`reflow.speed.rounds`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from lightning.fabric.utilities.apply_func import move_data_to_device
from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.errors import UserError
from reflow.policies import Batch, FlowPolicy
from reflow.speed.conditions import Conditions
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.training import Training, autocast

REFERENCE, LIMIT, ALONE = "reference", "limit", "student alone"
_DRAWS = re.compile(r"(live|pairs|pairs\+prefix)_([1-9]\d*)")
STORES: dict[str, str | None] = {"pairs": None, "pairs+vision": "vision", "pairs+prefix": "prefix"}
"""Variants that read a pair cache, and what is stored beside the endpoints."""


def live(draws: int) -> str:
    """Name of the variant with a live teacher and so many noises per observation."""
    return f"live_{draws}"


def label(name: str) -> str:
    """A contender's name as people read it: ``live K=8`` for ``live_8``."""
    return " K=".join(match.groups()) if (match := _DRAWS.fullmatch(name)) else name.replace("_", " ")


def kind_and_draws(name: str) -> tuple[str, int] | None:
    """``("live", 8)`` for ``live_8``; None where the name holds no number of noises."""
    match = _DRAWS.fullmatch(name)
    return (match[1], int(match[2])) if match else None


def draws_of(name: str, cached_draws: int) -> int:
    """Pairs per observation of a variant.

    Args:
        name: of the variant.
        cached_draws: of those that read ready pairs.

    Raises:
        UserError: there is no such variant.
    """
    if name == REFERENCE:
        return 1
    if (found := kind_and_draws(name)) and found[0] == "live":
        return found[1]
    if name in (*STORES, LIMIT, ALONE):
        return cached_draws
    raise UserError(
        f"variants holds {name!r}; allowed: {REFERENCE}, live_8 with any number, {', '.join(STORES)}, {LIMIT}"
    )


@dataclass
class Variant:
    """One contender.

    Attributes:
        name: of it.
        conditions: under which it trains.
        draws: noises per observation.
        batches: endless.
        loss: of a batch.
        train: what is done with the loss; None for a backward pass and nothing else.
        methods, fields: what a stopwatch wraps (:meth:`Stopwatch.around`).
    """

    name: str
    conditions: Conditions
    draws: int
    batches: Iterator[Batch]
    loss: Callable[[Batch], Float[Tensor, ""]]
    train: Training | None
    methods: tuple[tuple[Any, str, str], ...] = ()
    fields: tuple[tuple[FlowPolicy, str], ...] = ()

    @property
    def observations(self) -> int:
        """Per step."""
        return self.conditions.batch_size

    @property
    def pairs(self) -> int:
        """Per step."""
        return self.observations * self.draws

    def step(self, watch: Stopwatch) -> Float[Tensor, ""]:
        """One step, its time taken.

        Returns:
            The loss, detached.
        """
        with watch.step(), watch.around(*self.methods, fields=self.fields):
            with watch.part("data"):
                batch = next(self.batches)
                identity = {key: batch[key] for key in (SAMPLE, VISIT) if key in batch}  # as in training
                batch = {**move_data_to_device(batch, torch.device(self.conditions.device)), **identity}
            with autocast(self.conditions.precision, self.conditions.device):
                loss = self.loss(batch)
            if self.train is not None:
                self.train.update(loss, watch)
            else:
                with watch.part("backward"):
                    loss.backward()
        return loss.detach()
