"""The founding report's second check: a student's velocity on held-out pairs, and where it ends.

Velocity error by time, by dimension and by chunk position; beside it what the undistilled teacher's own velocity is
off on the same pairs, and the marks of :mod:`reflow.doctor.floor`. Endpoint error by number of steps. With two
students, old against new.

Left out: whether the student belongs to this teacher (:func:`reflow.policies.check_belongs`), and the robot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float64
from torch import Tensor

from reflow.doctor.floor import endpoint_variance, guess_alone, path_cosines
from reflow.doctor.observe import Observed
from reflow.flow import straight_path
from reflow.metrics import EndpointError, RelativeVelocityError, VelocityErrorProfile
from reflow.policies import FlowPolicy, shares_prefix

TEACHER = "teacher"
"""The name under which the undistilled teacher stands beside its students."""


@dataclass
class Walker:
    """One policy's errors.

    Attributes:
        relative: relative velocity error at the student's own times.
        by_time: mean squared velocity error on real dimensions, by time bin.
        by_dimension, by_step: at the student's own times.
        endpoint: relative endpoint error by number of steps, against the teacher at its own.
    """

    relative: float
    by_time: Float64[Tensor, " bins"]
    by_dimension: Float64[Tensor, " d"]
    by_step: Float64[Tensor, " h"]
    endpoint: dict[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Students and their teacher on the same held-out pairs.

    Attributes:
        walkers: by name; ``teacher`` is the undistilled one.
        own_times: where the judged student asks its velocity.
        bins: centres of the time bins.
        alone: `guess_alone` at those centres, mean over real dimensions.
        alone_own: `guess_alone` at the student's own times, by step and dimension.
        cosines: of all pairs of noises.
    """

    walkers: Mapping[str, Walker]
    own_times: tuple[float, ...]
    bins: tuple[float, ...]
    alone: Float64[Tensor, " bins"]
    alone_own: Float64[Tensor, "h d"]
    cosines: Float64[Tensor, " pairs"]


@torch.no_grad()
def compare_students(
    teacher: FlowPolicy,
    students: Mapping[str, FlowPolicy],
    observed: Sequence[Observed],
    *,
    nfe: Sequence[int] = (1, 2, 4, 10),
    time_bins: int = 10,
) -> Comparison:
    """Measures students, and their teacher, on the deployed coupling.

    Args:
        teacher: in eval mode.
        students: by name, in eval mode; the first is the one judged, and its steps say which times count.
        observed: the teacher's held-out observations.
        nfe: numbers of Euler steps.
        time_bins: of the profile over all times.
    """
    steps = next(iter(students.values())).num_steps
    own_times = tuple(i / steps for i in range(steps, 0, -1))
    bins = tuple((i + 0.5) / time_bins for i in range(time_bins))
    variance = torch.stack([endpoint_variance(one.endpoint) * len(one.noise) for one in observed]).sum(0)
    variance = (variance / sum(len(one.noise) for one in observed)).cpu()
    space = teacher.space
    return Comparison(
        {
            name: _measure(teacher, policy, observed, sorted({*nfe, steps}), bins, own_times)
            for name, policy in {**students, TEACHER: teacher}.items()
        },
        own_times,
        bins,
        torch.stack([space.real(guess_alone(variance, t)).mean() for t in bins]),
        torch.stack([guess_alone(variance, t) for t in own_times]).mean(0),
        torch.cat([path_cosines(one.noise, one.endpoint).cpu() for one in observed]),
    )


def _measure(
    teacher: FlowPolicy,
    policy: FlowPolicy,
    observed: Sequence[Observed],
    nfe: Sequence[int],
    bins: Sequence[float],
    own_times: Sequence[float],
) -> Walker:
    space = teacher.space
    profile, own = VelocityErrorProfile(len(bins), space), VelocityErrorProfile(1, space)
    relative = RelativeVelocityError(space)
    ends = {n: EndpointError(space) for n in nfe}
    for one in observed:
        context: Any = one.context if shares_prefix(teacher, policy) else policy.encode(one.batch)
        for times, metric in ((bins, profile), (own_times, own)):
            for t in times:
                at = torch.full(one.noise.shape[:2], t, device=one.noise.device)
                point = straight_path(one.noise, one.endpoint, at)
                v_t, u_t = policy.velocity(context, point.x_t, at).cpu(), point.u_t.cpu()
                metric.update(v_t, u_t, at.cpu())
                if metric is own:
                    relative.update(v_t, u_t)
        for n, error in ends.items():
            error.update(policy.walk(context, one.noise, n).cpu(), one.endpoint.cpu())
    return Walker(
        relative.compute().item(),
        space.real(profile.compute()).mean(dim=1),
        own.compute()[0],
        own.by_step()[0],
        {n: error.compute().item() for n, error in ends.items()},
    )
