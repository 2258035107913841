"""How straight the ways of both policies are: together, on real and padding dimensions, and joint by joint."""

from __future__ import annotations

from collections.abc import Sequence

from reflow.flow import ActionSpace, trajectory
from reflow.metrics import Straightness, StraightnessByDimension
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import WHO, Observed


class StraightnessOfFlows:
    """Figures ``straightness/{all,real,padding}`` and ``straightness/joint/<joint>`` of the student.

    The teacher's stand beside them as ``straightness/teacher/...``.

    Args:
        space: of both policies.
        joints: names of the real dimensions.
        num_steps: points along each trajectory, from one noise per observation.
    """

    def __init__(self, space: ActionSpace, joints: Sequence[str], num_steps: int) -> None:
        self.joints, self.num_steps = tuple(joints), num_steps
        self._together = {who: Straightness(space) for who in WHO}
        self._apart = {who: StraightnessByDimension(space) for who in WHO}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        start = seen.randn[:, :1]
        for who in WHO:
            field = seen.pair.policy(who).field(seen.contexts[who])
            path = trajectory(field, start, self.num_steps, time_dims=2)
            for metric in (self._together[who], self._apart[who]):
                metric.to(start.device).update(path.velocities, start, path.endpoint)

    def result(self) -> Figures:
        """Straightness of both; arrays ``straightness/<who>`` ``[d]`` hold every native dimension."""
        found = Figures()
        for who in WHO:
            prefix = "straightness" if who == "student" else "straightness/teacher"
            apart = self._apart[who].compute()
            metrics = {f"{prefix}/{part}": value for part, value in self._together[who].compute().items()}
            metrics |= {
                f"{prefix}/joint/{joint}": value for joint, value in zip(self.joints, apart, strict=False)
            }
            found |= figures(metrics, {f"straightness/{who}": apart})
        return found
