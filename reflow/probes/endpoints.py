"""Endpoint errors by number of steps: student, and teacher as it is, against the teacher.

Against the teacher at its own steps (what is deployed today), and against its reference solution of very many
steps (what it means); normalised and in the robot's units; with the teacher's own solver error as the floor.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from reflow.flow import ActionSpace
from reflow.metrics import EndpointError
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import WHO, Observed
from reflow.probes.physical import JointError


class EndpointErrors:
    """Figures ``<who>/endpoint_error@n``, ``..._to_reference@n``, ``<who>/endpoint_rmse_physical@n``, and floors.

    Args:
        space: of both policies.
        joints: names of the real dimensions.
        nfe: numbers of Euler steps, each from 1.
        reference_steps: steps of the reference solution, walked from one noise per observation.
    """

    def __init__(
        self, space: ActionSpace, joints: Sequence[str], nfe: Sequence[int], reference_steps: int
    ) -> None:
        self.joints, self.nfe, self.reference_steps = tuple(joints), tuple(nfe), reference_steps
        self._errors = {
            f"{who}/{name}@{n}": EndpointError(space)
            for who in WHO
            for n in nfe
            for name in ("endpoint_error", "endpoint_error_to_reference")
        } | {"teacher/solver_error": EndpointError(space)}
        self._physical = {
            f"{who}/{name}@{n}": JointError(space.action_dim)
            for who in WHO
            for n in nfe
            for name in ("endpoint_rmse_physical", "endpoint_rmse_physical_to_reference")
        } | {"teacher/solver_rmse_physical": JointError(space.action_dim)}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for error in self._errors.values():
            error.to(seen.randn.device)
        reference = seen.walk("teacher", seen.randn[:, :1], self.reference_steps)
        target, far_target = seen.physical("teacher", seen.endpoint), seen.physical("teacher", reference)
        self._errors["teacher/solver_error"].update(seen.endpoint[:, :1], reference)
        self._physical["teacher/solver_rmse_physical"].update(target[:, :1], far_target)
        for who in WHO:
            for n in self.nfe:
                end = seen.end(who, n)
                actions = seen.physical(who, end)
                self._errors[f"{who}/endpoint_error@{n}"].update(end, seen.endpoint)
                self._errors[f"{who}/endpoint_error_to_reference@{n}"].update(end[:, :1], reference)
                self._physical[f"{who}/endpoint_rmse_physical@{n}"].update(actions, target)
                self._physical[f"{who}/endpoint_rmse_physical_to_reference@{n}"].update(
                    actions[:, :1], far_target
                )

    def result(self) -> Figures:
        """Errors, and by joint those of the student against the teacher."""
        joints = {name: metric.compute() for name, metric in self._physical.items()}
        metrics = {name: metric.compute() for name, metric in self._errors.items()}
        metrics |= {name: error.mean() for name, error in joints.items()}
        for n in self.nfe:
            name = f"student/endpoint_rmse_physical@{n}"
            metrics |= {
                f"{name}/{joint}": error for joint, error in zip(self.joints, joints[name], strict=True)
            }
        by_nfe = [joints[f"student/endpoint_rmse_physical@{n}"].numpy() for n in self.nfe]
        return figures(
            metrics,
            {
                "endpoint_error_joint/student": np.stack(by_nfe),
                "endpoint_error_joint/nfe": np.array(self.nfe),
            },
        )
