"""How straight the flows are: together, on real and padding dimensions, and joint by joint; 0: one step is exact."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from reflow.flow import trajectory
from reflow.metrics import Straightness, StraightnessByDimension
from reflow.probes.figures import Figures, named
from reflow.probes.observations import STUDENT, Observed
from reflow.probes.probe import Probe


class StraightnessOfFlows(Probe):
    """Figures ``straightness/{all,real,padding}`` of the student, ``straightness/teacher/...`` of the teacher.

    With joints also ``straightness/joint/<joint>``, and arrays ``straightness/<who>`` ``[d]``, padding included. Left
    out: the padding of a policy that keeps it at zero, for what stands still is neither straight nor bent.

    Args:
        num_steps: points along each trajectory, from one noise per observation.
        who: whose flow.
        joints: names of the real dimensions.
    """

    def __init__(
        self, num_steps: int = 10, who: Sequence[str] = (STUDENT,), joints: Sequence[str] = ()
    ) -> None:
        self.num_steps, self.who, self.joints = num_steps, tuple(who), tuple(joints)

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        start = seen.randn[:, :1]  # one noise per observation is enough
        for who in self.who:
            field = seen.by.policies[who].field(seen.context(who))
            path = trajectory(field, start, self.num_steps, time_dims=2)
            way = path.velocities, start, path.endpoint
            self.add(named("straightness/{key}", who), Straightness, *way)
            if self.joints:
                self.add(f"straightness/{who}", StraightnessByDimension, *way)

    def result(self) -> Figures:
        """Straightness of all that were asked for."""
        found = super().result()
        for who in self.who:
            line = cast(Straightness, self.metrics[named("straightness/{key}", who)]).line
            if not self.by.space.padding(line).any():  # and nan is any
                found.metrics.pop(named("straightness/padding", who), None)
        for who in self.who if self.joints else ():
            for joint, value in zip(self.joints, self.metrics[f"straightness/{who}"].compute(), strict=False):
                found.metrics[named(f"straightness/joint/{joint}", who)] = value.item()
        return found
