"""Where a training step's endpoints come from: the teacher, or a pair cache. One question, two answers.

Also what a pair cache adds to a training batch, and what then need not be read of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from reflow.data.frames import ENDPOINT, Reading
from reflow.endpoints import PairCache
from reflow.errors import UserError
from reflow.flow import PaddingRule, Solver, draw_identities
from reflow.policies import CONTEXT, VISION, Batch, FlowPolicy


class Endpoints(Protocol):
    """Where the teacher's integration of a noise ends."""

    def __call__(
        self, batch: Batch, context: Any, randn: Float[Tensor, "b k h d"]
    ) -> Float[Tensor, "b k h d"]:
        """Endpoints of these noises, at native width, without a graph.

        Args:
            batch: the observations.
            context: the same, encoded by the teacher.
            randn: standard normal draws of their identities, at native width.
        """


@dataclass(frozen=True)
class LiveEndpoints:
    """Integrates the teacher anew for every noise.

    Attributes:
        teacher: in eval mode.
        solver: its solver.
        num_steps: its steps.
        rule: what of a draw the teacher starts from.
    """

    teacher: FlowPolicy
    solver: Solver
    num_steps: int
    rule: PaddingRule

    def __call__(
        self, batch: Batch, context: Any, randn: Float[Tensor, "b k h d"]
    ) -> Float[Tensor, "b k h d"]:
        """See :class:`Endpoints`."""
        return self.teacher.carry(context, randn, self.num_steps, self.solver, self.rule)


@dataclass(frozen=True)
class StoredEndpoints:
    """Takes what a pair cache has put into the batch (:class:`Stored`)."""

    def __call__(
        self, batch: Batch, context: Any, randn: Float[Tensor, "b k h d"]
    ) -> Float[Tensor, "b k h d"]:
        """See :class:`Endpoints`.

        Raises:
            UserError: the batch has no endpoints of this many noises.
        """
        stored = batch.get(ENDPOINT)
        if stored is None or stored.shape != randn.shape:
            found = "none" if stored is None else tuple(stored.shape)
            raise UserError(
                f"endpoints of shape {tuple(randn.shape)} are asked for, the batch has {found}; give the data module "
                "a pair cache with the objective's own draws and draw_pool"
            )
        return stored


@dataclass(frozen=True)
class Stored:
    """Endpoints, and where they are stored vision features or prefixes, of the visits in a batch.

    Attributes:
        cache: where they are read from.
        draws: noises per visit (``objective.draws``).
        draw_pool: noises that an observation has in all (``objective.draw_pool``).

    Raises:
        UserError: the cache has fewer draws than the pool.
    """

    cache: PairCache
    draws: int
    draw_pool: int | None = None

    def __post_init__(self) -> None:
        if (self.draw_pool or self.draws) > self.cache.draws:
            raise UserError(
                f"objective.draws={self.draws} with objective.draw_pool={self.draw_pool} asks for more draws than "
                f"{self.cache.path} holds of each observation, {self.cache.draws}; ask for no more "
                f"{self.cache.ways_to(self.draw_pool or self.draws)}"
            )

    @property
    def reading(self) -> Reading:
        """What must still be read of the data set."""
        if "prefix" in self.cache.stores:
            return "identity"
        return "words" if "vision" in self.cache.stores else "all"

    def check_visits(self, visits: int) -> None:
        """Refuses a run that would meet more draws than there are, before it has begun.

        Args:
            visits: how often the run meets its observations, at most.

        Raises:
            UserError: with what to do.
        """
        if self.draw_pool is None and visits * self.draws > self.cache.draws:
            raise UserError(
                f"this run meets an observation up to {visits} times with {self.draws} new noises each, "
                f"{self.cache.path} holds {self.cache.draws} draws of each; meet those again and again "
                f"{self.cache.ways_to(visits * self.draws)}"
            )

    def __call__(self, sample: Tensor, visit: Tensor) -> dict[str, Any]:
        """Entries of the batch with these identities, ``[b]`` each."""
        drawn = draw_identities(visit, self.draws, self.draw_pool)
        found: dict[str, Any] = {ENDPOINT: self.cache.endpoints(sample, drawn)}
        for store, key in (("prefix", CONTEXT), ("vision", VISION)):
            if store in self.cache.stores:  # a prefix holds the vision features
                return found | {key: self.cache.stored(store, sample)}
        return found
