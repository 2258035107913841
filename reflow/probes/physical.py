"""Errors in the robot's own units, joint by joint.

Left out: how physical actions are made (:meth:`reflow.probes.observations.Observed.physical`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics import Metric

from reflow.errors import UserError
from reflow.flow import ActionSpace
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import STUDENT, TEACHER, Observed
from reflow.probes.probe import Probe, check_steps


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
            UserError: the shapes differ, or the last dimension is not the joints.
        """
        if actions.shape != reference.shape or actions.shape[-1:] != self.squares.shape:
            raise UserError(
                f"actions have shape {tuple(actions.shape)}, reference {tuple(reference.shape)}; allowed: two equal "
                f"ones, the last dimension {len(self.squares)}; take the real dimensions of whole chunks"
            )
        difference = (actions.double() - reference.double()).flatten(0, -2)
        self.squares += difference.square().sum(0)
        self.count += len(difference)

    def compute(self) -> Float64[Tensor, " a"]:
        """The error of every joint; nan before the first chunk."""
        return (self.squares / self.count).sqrt()


class PhysicalErrors(Probe):
    """Figures ``<who>/endpoint_rmse_physical@n``, ``..._to_reference@n`` and ``teacher/solver_rmse_physical``.

    Means over joints; the student's also as ``.../<joint>`` and, by number of steps, as array
    ``endpoint_error_joint/student`` ``[n, a]`` beside ``endpoint_error_joint/nfe``. Needs postprocessors.

    Args:
        joints: names of the real dimensions.
        nfe: numbers of Euler steps, each from 1.
        reference_steps: of the teacher's reference solution.
    """

    def __init__(self, joints: Sequence[str], nfe: Sequence[int], reference_steps: int) -> None:
        self.joints, self.nfe, self.reference_steps = tuple(joints), check_steps(nfe), reference_steps

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        target = seen.physical(TEACHER, seen.endpoint)
        far_target = seen.physical(TEACHER, seen.reference(self.reference_steps))
        self.add("teacher/solver_rmse_physical", _error, target[:, :1], far_target)
        for who in seen.by.policies:
            for n in self.nfe:
                actions = seen.physical(who, seen.end(who, n))
                name = f"{who}/endpoint_rmse_physical"
                self.add(f"{name}@{n}", _error, actions, target)
                self.add(f"{name}_to_reference@{n}", _error, actions[:, :1], far_target)

    def result(self) -> Figures:
        """Errors, and by joint those of the student against the teacher."""
        errors = {name: metric.compute() for name, metric in self.metrics.items()}
        own = {f"{STUDENT}/endpoint_rmse_physical@{n}": n for n in self.nfe}
        by_joint = {
            f"{name}/{joint}": error
            for name in own
            for joint, error in zip(self.joints, errors[name], strict=True)
        }
        by_nfe = torch.stack([errors[name] for name in own])
        return figures(
            {name: error.mean() for name, error in errors.items()} | by_joint,
            {"endpoint_error_joint/student": by_nfe, "endpoint_error_joint/nfe": np.array(self.nfe)},
        )


def _error(space: ActionSpace) -> Metric:
    return JointError(space.action_dim)
