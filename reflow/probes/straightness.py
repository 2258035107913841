"""How straight the flows are: together, on real and padding dimensions, and joint by joint; 0: one step is exact."""

from __future__ import annotations

from collections.abc import Sequence

from torchmetrics import Metric

from reflow.flow import trajectory
from reflow.metrics import Straightness, StraightnessByDimension
from reflow.probes.figures import Figures, figures, named
from reflow.probes.observations import STUDENT, Observations, Observed
from reflow.probes.probe import Probe


class StraightnessOfFlows(Probe):
    """Figures ``straightness/{all,real,padding}`` of the student, ``straightness/teacher/...`` of the teacher.

    With joints also ``straightness/joint/<joint>``, and arrays ``straightness/<who>`` ``[d]``, padding included.

    Args:
        num_steps: points along each trajectory, from one noise per observation.
        who: whose flow.
        joints: names of the real dimensions.
    """

    def __init__(
        self, num_steps: int = 10, who: Sequence[str] = (STUDENT,), joints: Sequence[str] = ()
    ) -> None:
        self.num_steps, self.who, self.joints = num_steps, tuple(who), tuple(joints)

    def make(self, by: Observations) -> dict[str, Metric]:
        """Together, and apart."""
        kinds = {"together": Straightness, **({"apart": StraightnessByDimension} if self.joints else {})}
        return {f"{who}/{name}": kind(by.space) for who in self.who for name, kind in kinds.items()}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        start = seen.randn[:, :1]  # one noise per observation is enough
        for who in self.who:
            field = seen.by.policies[who].field(seen.context(who))
            path = trajectory(field, start, self.num_steps, time_dims=2)
            for name, metric in self.metrics.items():
                if name.startswith(f"{who}/"):
                    metric.update(path.velocities, start, path.endpoint)

    def result(self) -> Figures:
        """Straightness of all that were asked for."""
        found = Figures()
        for who in self.who:
            together = self.metrics[f"{who}/together"].compute()
            found |= figures({named(f"straightness/{part}", who): value for part, value in together.items()})
            if self.joints:
                apart = self.metrics[f"{who}/apart"].compute()
                by_joint = zip(self.joints, apart, strict=False)
                names = {named(f"straightness/joint/{joint}", who): value for joint, value in by_joint}
                found |= figures(names, {f"straightness/{who}": apart})
        return found
