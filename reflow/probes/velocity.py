"""How well the student knows the lines it should follow: as it is asked, and over all times.

As asked: at the times of its own steps. A one-step student is asked at t = 1 only, so its profile over all times
shows what it would need to be asked more often, not a fault.

Left out: the irreducible floor (``reflow.doctor.floor``).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import straight_path
from reflow.metrics import RelativeVelocityError, VelocityErrorProfile, VelocityLoss
from reflow.probes.figures import Figures, figures, named
from reflow.probes.observations import STUDENT, Observed
from reflow.probes.probe import Probe


def asked_times(num_steps: int) -> tuple[float, ...]:
    """Where a policy of so many Euler steps is asked for its velocity: 1, 1 - 1/n, ..., 1/n."""
    return tuple(i / num_steps for i in range(num_steps, 0, -1))


def bin_centres(bins: int) -> tuple[float, ...]:
    """The middle of each of as many equal bins of time."""
    return tuple((i + 0.5) / bins for i in range(bins))


class VelocityErrors(Probe):
    """Figures ``deploy/loss`` and ``velocity/relative_error``; arrays by time, dimension and chunk step.

    Both are errors of the velocity as deployment asks for it: native-width noise, the teacher's endpoint as it is, at
    the times of the judged student's own steps, each noise at every one of them; on real dimensions. So they are the
    same number whoever measures, however the student was trained. ``deploy/loss`` is the mean square; over the
    training loss on real dimensions it is the deploy gap. A run that trains at other times also has
    ``deploy/loss_at_trained_times``, of the student.

    Arrays ``velocity_error/<who>`` ``[bins, d]`` and ``velocity_error_by_step/<who>`` ``[bins, h]``, at the centres
    of the bins, and the same as asked, with one bin: ``velocity_error_asked/<who>`` and
    ``velocity_error_asked_by_step/<who>``. In the final measurement only.

    Args:
        time_bins: rows of the arrays.
        who: whose velocity; that of others than the student is named ``deploy/<who>/loss``, and so on.

    Raises:
        UserError: no bin.
    """

    def __init__(self, time_bins: int = 10, who: Sequence[str] = (STUDENT,)) -> None:
        if time_bins < 1:
            raise UserError(f"time_bins is {time_bins}; allowed: 1 or more")
        self.time_bins, self.who = time_bins, tuple(who)

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for who in self.who:
            for t in asked_times(seen.by.policies[STUDENT].num_steps):
                v_t, u_t, at = _at(seen, who, seen.randn.new_full(seen.randn.shape[:2], t))
                self.add(named("velocity/relative_error", who), RelativeVelocityError, v_t, u_t)
                self.add(named("deploy/loss", who), VelocityLoss, v_t, u_t)
                if self.thorough:
                    once = partial(VelocityErrorProfile, 1)
                    self.add(f"velocity_error_asked/{who}", once, v_t, u_t, at)
            for t in bin_centres(self.time_bins) if self.thorough else ():
                profile = partial(VelocityErrorProfile, self.time_bins)
                at = seen.randn.new_full(seen.randn.shape[:2], t)
                self.add(f"velocity_error/{who}", profile, *_at(seen, who, at))
        if (trained := seen.trained_times) is not None:
            self.add("deploy/loss_at_trained_times", VelocityLoss, *_at(seen, STUDENT, trained)[:2])

    def result(self) -> Figures:
        """Errors as asked, and the profiles."""
        profiles = {x: one for x, one in self.metrics.items() if isinstance(one, VelocityErrorProfile)}
        by_step = {name.replace("/", "_by_step/"): one.by_step() for name, one in profiles.items()}
        return super().result() | figures({}, by_step)


def _at(seen: Observed, who: str, t: Float[Tensor, "b k"]) -> tuple[Tensor, Tensor, Tensor]:
    """Velocity, target and times on the deployed coupling."""
    point = straight_path(seen.randn, seen.endpoint, t)
    return seen.velocity(who, point.x_t, t), point.u_t, t
