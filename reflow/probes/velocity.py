"""How well the student knows the lines it should walk: as it is asked, and over all times.

As asked: at the times of its own steps. A one-step student is asked at t = 1 only, so its profile over all
times shows what it would need to be asked more often, not a fault.

Left out: the irreducible floor (``reflow.doctor``).
"""

from __future__ import annotations

from reflow.flow import ActionSpace, GridTime, UniformTime, straight_path
from reflow.metrics import RelativeVelocityError, VelocityErrorProfile, VelocityLoss
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observed


class VelocityErrors:
    """Figures ``velocity/relative_error`` and ``deploy/loss``; arrays by time and dimension, by time and step.

    Args:
        space: of both policies.
        num_steps: the student's own steps.
        time_bins: rows of the arrays.
    """

    def __init__(self, space: ActionSpace, num_steps: int, time_bins: int) -> None:
        self._asked = GridTime(num_steps)
        self._relative, self._loss = RelativeVelocityError(space), VelocityLoss(space)
        self._profile = VelocityErrorProfile(time_bins, space)

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for metric in (self._relative, self._loss, self._profile):
            metric.to(seen.randn.device)
        t = self._asked(seen.uniform)
        point = straight_path(seen.randn, seen.endpoint, t)
        v_t = seen.velocity("student", point.x_t, t)
        self._relative.update(v_t, point.u_t)
        self._loss.update(v_t, point.u_t)

        t = UniformTime()(seen.uniform)
        point = straight_path(seen.randn, seen.endpoint, t)
        v_t = seen.velocity("student", point.x_t, t)
        self._profile.update(v_t, point.u_t, t)

    def result(self) -> Figures:
        """Errors as asked, and the profiles over all times."""
        return figures(
            {"velocity/relative_error": self._relative.compute(), "deploy/loss": self._loss.compute()},
            {
                "velocity_error/student": self._profile.compute(),
                "velocity_error_by_step/student": self._profile.by_step(),
            },
        )
