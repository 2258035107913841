"""The founding report's second check: a student's velocity on held-out pairs, and where it ends.

Velocity error by time, by dimension and by chunk position; beside it what the undistilled teacher's own velocity is
off on the same pairs, and the marks of :mod:`reflow.doctor.floor`. Endpoint error by number of steps. With two
students, old against new.

Left out: the measuring (:mod:`reflow.probes`), whether the student belongs to this teacher
(:func:`reflow.policies.check_belongs`), and the robot.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from reflow.doctor.floor import endpoint_variance, guess_alone, path_cosines
from reflow.flow import ActionSpace
from reflow.probes import Figures, Observed
from reflow.probes.figures import named
from reflow.probes.observations import STUDENT, TEACHER
from reflow.probes.velocity import asked_times, bin_centres


@dataclass(frozen=True)
class Comparison:
    """Students and their teacher on the same held-out pairs.

    Attributes:
        figures: of :class:`reflow.probes.EndpointErrors` and :class:`reflow.probes.VelocityErrors`.
        space: of their actions.
        names: ``student``, the judged one, first; then older ones; ``teacher``, undistilled, last.
        own_times: where the judged student asks its velocity.
        bins: centres of the time bins.
        alone: `guess_alone` at those centres, mean over real dimensions.
        alone_own: `guess_alone` at the student's own times, by step and dimension.
        cosines: of all pairs of noises.
    """

    figures: Figures
    space: ActionSpace
    names: tuple[str, ...]
    own_times: tuple[float, ...]
    bins: tuple[float, ...]
    alone: Float64[Tensor, " bins"]
    alone_own: Float64[Tensor, "h d"]
    cosines: Float64[Tensor, " pairs"]

    @property
    def nfe(self) -> list[int]:
        """The numbers of steps that were compared."""
        prefix = f"{STUDENT}/endpoint_error@"
        return sorted(int(name.removeprefix(prefix)) for name in self.figures.metrics if prefix in name)

    def endpoint(self, who: str, num_steps: int) -> float:
        """Relative endpoint error, against the teacher at its own steps."""
        return self.figures.metrics.get(f"{who}/endpoint_error@{num_steps}", math.nan)

    def relative(self, who: str) -> float:
        """Relative velocity error at the judged student's times."""
        return self.figures.metrics.get(named("velocity/relative_error", who), math.nan)

    def by_time(self, who: str) -> Float[Tensor, " bins"]:
        """Mean squared velocity error on real dimensions, by time bin."""
        profile = torch.from_numpy(self.figures.arrays[f"velocity_error/{who}"])
        return self.space.real(profile).mean(dim=1)

    def by_dimension(self, who: str) -> Float[Tensor, " d"]:
        """The same at the judged student's times, by dimension."""
        return torch.from_numpy(self.figures.arrays[f"velocity_error_asked/{who}"])

    def by_step(self, who: str) -> Float[Tensor, " h"]:
        """And by chunk step."""
        return torch.from_numpy(self.figures.arrays[f"velocity_error_asked_by_step/{who}"])


@torch.no_grad()
def compare_students(observed: Sequence[Observed], figures: Figures, time_bins: int) -> Comparison:
    """Puts what was measured beside what a guess reaches.

    Args:
        observed: held-out observations of the teacher and its students.
        figures: what the probes found there.
        time_bins: of their velocity error profile.
    """
    by = observed[0].by
    own_times, bins = asked_times(by.policies[STUDENT].num_steps), bin_centres(time_bins)
    variance = torch.stack([endpoint_variance(one.endpoint) * len(one.sample) for one in observed]).sum(0)
    variance = (variance / sum(len(one.sample) for one in observed)).cpu()
    return Comparison(
        figures,
        by.space,
        (*(name for name in by.policies if name != TEACHER), TEACHER),
        own_times,
        bins,
        torch.stack([by.space.real(guess_alone(variance, t)).mean() for t in bins]),
        torch.stack([guess_alone(variance, t) for t in own_times]).mean(0),
        torch.cat([path_cosines(one.randn, one.endpoint).cpu() for one in observed]),
    )
