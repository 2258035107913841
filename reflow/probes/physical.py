"""Errors in the robot's own units, joint by joint.

Left out: how physical actions are made (:meth:`reflow.probes.observations.Observed.physical`).
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics import Metric


class JointError(Metric):
    """Root mean square difference of physical actions, for every joint.

    Over chunks and steps together; in the unit of the joint (radians for ALOHA's, none for its grippers).

    Args:
        action_dim: joints.
        **kwargs: for ``torchmetrics.Metric``.

    Example:
        >>> error = JointError(action_dim=2)
        >>> error.update(torch.tensor([[[1.0, 5.0], [3.0, 5.0]]]), torch.tensor([[[1.0, 2.0], [1.0, 2.0]]]))
        >>> error.compute()
        tensor([1.4142, 3.0000], dtype=torch.float64)
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False

    squares: Tensor
    count: Tensor

    def __init__(self, action_dim: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("squares", torch.zeros(action_dim, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, actions: Float[Tensor, "*chunks h a"], reference: Float[Tensor, "*chunks h a"]) -> None:
        """Adds chunks.

        Args:
            actions: physical actions.
            reference: what they should have been.

        Raises:
            ValueError: the shapes differ, or the last dimension is not the joints.
        """
        if actions.shape != reference.shape or actions.shape[-1:] != self.squares.shape:
            raise ValueError(
                f"actions have shape {tuple(actions.shape)}, reference {tuple(reference.shape)}; allowed: two equal "
                f"ones, the last dimension {len(self.squares)}; take the real dimensions of whole chunks"
            )
        difference = (actions.double() - reference.double()).flatten(0, -2)
        self.squares += difference.square().sum(0)
        self.count += len(difference)

    def compute(self) -> Float64[Tensor, " a"]:
        """The error of every joint; nan before the first chunk."""
        return (self.squares / self.count).sqrt()
