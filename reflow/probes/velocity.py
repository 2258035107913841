"""How well the student knows the lines it should follow: as it is asked, and over all times.

As asked: at the times of its own steps. A one-step student is asked at t = 1 only, so its profile over all times
shows what it would need to be asked more often, not a fault.

Left out: the irreducible floor (``reflow.doctor.floor``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from reflow.flow import straight_path
from reflow.metrics import RelativeVelocityError, VelocityErrorProfile, VelocityLoss
from reflow.probes.figures import Figures, figures, named
from reflow.probes.observations import STUDENT, Observations, Observed
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
    training loss on real dimensions it is the deploy gap.

    Arrays ``velocity_error/<who>`` ``[bins, d]`` and ``velocity_error_by_step/<who>`` ``[bins, h]``, at the centres
    of the bins, and the same as asked, without the bins: ``velocity_error_asked/<who>`` and
    ``velocity_error_asked_by_step/<who>``. In the final measurement only.

    Args:
        time_bins: rows of the arrays.
        who: whose velocity; that of others than the student is named ``deploy/<who>/loss``, and so on.

    Raises:
        ValueError: no bin.
    """

    def __init__(self, time_bins: int = 10, who: Sequence[str] = (STUDENT,)) -> None:
        if time_bins < 1:
            raise ValueError(f"time_bins is {time_bins}; allowed: 1 or more")
        self.time_bins, self.who = time_bins, tuple(who)

    def make(self, by: Observations) -> dict[str, Metric]:
        """Errors and profiles."""
        self._asked = asked_times(by.policies[STUDENT].num_steps)
        found: dict[str, Metric] = {}
        for who in self.who:
            found[named("velocity/relative_error", who)] = RelativeVelocityError(by.space)
            found[named("deploy/loss", who)] = VelocityLoss(by.space)
        self._profiles: dict[tuple[str, str], VelocityErrorProfile] = {}
        for who in self.who if self.thorough else ():
            self._profiles[who, "asked"] = VelocityErrorProfile(1, by.space).to(by.device)
            self._profiles[who, "all"] = VelocityErrorProfile(self.time_bins, by.space).to(by.device)
        return found

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        for who in self.who:
            for t in self._asked:
                v_t, u_t, at = _at(seen, who, t)
                for name in ("velocity/relative_error", "deploy/loss"):
                    self.metrics[named(name, who)].update(v_t, u_t)
                if self.thorough:
                    self._profiles[who, "asked"].update(v_t, u_t, at)
            for t in bin_centres(self.time_bins) if self.thorough else ():
                self._profiles[who, "all"].update(*_at(seen, who, t))

    def result(self) -> Figures:
        """Errors as asked, and the profiles."""
        arrays: dict[str, Tensor] = {}
        for (who, what), profile in self._profiles.items():
            name, rows = ("velocity_error", slice(None)) if what == "all" else ("velocity_error_asked", 0)
            arrays[f"{name}/{who}"] = profile.compute()[rows]
            arrays[f"{name}_by_step/{who}"] = profile.by_step()[rows]
        return super().result() | figures({}, arrays)


def _at(seen: Observed, who: str, t: float) -> tuple[Tensor, Tensor, Tensor]:
    """Velocity, target and times at t on the deployed coupling."""
    at = torch.full(seen.randn.shape[:2], t, device=seen.randn.device)
    point = straight_path(seen.randn, seen.endpoint, at)
    return seen.velocity(who, point.x_t, at), point.u_t, at
