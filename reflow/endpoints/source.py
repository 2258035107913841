"""Where a training step's endpoints come from: the teacher, or a pair cache. One question, two answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from jaxtyping import Float
from torch import Tensor

from reflow.data import ENDPOINT
from reflow.flow import PaddingRule, Solver, carry
from reflow.policies import Batch, FlowPolicy


class Endpoints(Protocol):
    """Where the teacher carries noise to."""

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
        return carry(self.teacher.field(context), randn, self.num_steps, self.solver, self.rule)


@dataclass(frozen=True)
class StoredEndpoints:
    """Takes what a pair cache has put into the batch (:class:`reflow.endpoints.stored.Stored`)."""

    def __call__(
        self, batch: Batch, context: Any, randn: Float[Tensor, "b k h d"]
    ) -> Float[Tensor, "b k h d"]:
        """See :class:`Endpoints`.

        Raises:
            ValueError: the batch has no endpoints of this many noises.
        """
        stored = batch.get(ENDPOINT)
        if stored is None or stored.shape != randn.shape:
            found = "none" if stored is None else tuple(stored.shape)
            raise ValueError(
                f"endpoints of shape {tuple(randn.shape)} are asked for, the batch has {found}; give the data module "
                "a pair cache with the objective's own draws and draw_pool"
            )
        return stored
