"""Was the teacher's padding ever supervised? What `reflow.doctor.regime` decides that from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from reflow.flow import ActionSpace, PaddingRule, straight_path
from reflow.metrics import PaddingStatistics
from reflow.probes.figures import Figures
from reflow.probes.observations import TEACHER, Observed
from reflow.probes.probe import Probe

TIMES = (1.0, 0.75, 0.5, 0.25)
"""Where padding velocity is compared with its supervised value."""
_SIZES = ("size/endpoint", "size/noise")


class PaddingSupervision(Probe):
    """Figures of the teacher's padding; none where there is none, or the policy masks it: no noise, nothing to learn.

    ``padding/teacher/endpoint_to_noise``: mean abs padding of the endpoint over that of the noise.
    ``padding/teacher/velocity_error@<t>``: see :func:`velocity_error`.
    ``{real,padding}/teacher/endpoint_zeroed_<statistic>``: endpoints from noise whose padding is zero.
    """

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        space, noise = seen.by.space, seen.randn
        if not space.padding_dim:
            return
        zeroed = seen.walk(TEACHER, PaddingRule(space, noise_dims="real").noise(noise))
        self.add("{part}/teacher/endpoint_zeroed_{key}", PaddingStatistics, zeroed)
        for t in TIMES:
            self.add(f"padding/teacher/velocity_error@{t:g}", _mean, velocity_error(seen, t))
        self.add(_SIZES[0], _mean, space.padding(seen.endpoint).abs())
        self.add(_SIZES[1], _mean, space.padding(noise).abs())

    def result(self) -> Figures:
        """All of them."""
        found = super().result()
        if self.metrics:
            endpoint, noise = (found.metrics.pop(name) for name in _SIZES)
            if noise == 0:
                return Figures()
            found.metrics["padding/teacher/endpoint_to_noise"] = endpoint / noise
        return found


def _mean(space: ActionSpace) -> Metric:
    return MeanMetric(nan_strategy="disable")


def velocity_error(seen: Observed, t: float) -> Float[Tensor, " bk"]:
    """How far the padding velocity is from that of a teacher whose padding was supervised.

    Such a teacher was shown actions whose padding is zero, ``x_t = t * noise`` and ``u = noise`` there. So the point
    asked about has the teacher's own endpoint on real dimensions and zero on padding: where training put it.

    Args:
        seen: held-out observations.
        t: time, above 0.

    Returns:
        ``||v - noise|| / ||noise||`` of each chunk, on padding dimensions: 0 for a perfectly supervised teacher, 1
        for a velocity of zero, more for one that has nothing to do with the noise.
    """
    space, noise = seen.by.space, seen.randn
    action = PaddingRule(space, target_dims="real").target(seen.endpoint)
    times = torch.full(noise.shape[:2], t, device=noise.device)
    v_t = seen.velocity(TEACHER, straight_path(noise, action, times).x_t, times)
    padding = space.padding(noise).flatten(0, 1).flatten(1)
    return (space.padding(v_t).flatten(0, 1).flatten(1) - padding).norm(dim=1) / padding.norm(dim=1)
