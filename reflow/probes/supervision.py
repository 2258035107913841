"""Was the teacher's padding ever supervised? What `reflow.doctor.regime` decides that from."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import MeanMetric, Metric

from reflow.flow import PaddingRule, straight_path
from reflow.metrics import PaddingStatistics
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import TEACHER, Observations, Observed
from reflow.probes.probe import Probe

TIMES = (1.0, 0.75, 0.5, 0.25)
"""Where padding velocity is compared with its supervised value."""


class PaddingSupervision(Probe):
    """Figures of the teacher's padding; none where there is no padding.

    ``padding/teacher/endpoint_to_noise``: mean abs padding of the endpoint over that of the noise.
    ``padding/teacher/velocity_error@<t>``: see :func:`velocity_error`.
    ``{real,padding}/teacher/endpoint_zeroed_<statistic>``: endpoints from noise whose padding is zero.
    """

    def make(self, by: Observations) -> dict[str, Metric]:
        """Statistics, and one mean per time."""
        if not by.space.padding_dim:
            return {}
        names = ("endpoint", "endpoint_zeroed", "noise")
        found: dict[str, Metric] = {name: PaddingStatistics(by.space) for name in names}
        return found | {f"padding/teacher/velocity_error@{t:g}": MeanMetric() for t in TIMES}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        if not self.metrics:
            return
        zeroed = PaddingRule(seen.by.space, noise_dims="real").noise(seen.randn)
        self.metrics["endpoint"].update(seen.endpoint)
        self.metrics["endpoint_zeroed"].update(seen.walk(TEACHER, zeroed))
        self.metrics["noise"].update(seen.randn)
        for t in TIMES:
            self.metrics[f"padding/teacher/velocity_error@{t:g}"].update(velocity_error(seen, t))

    def result(self) -> Figures:
        """All of them."""
        values = {name: metric.compute() for name, metric in self.metrics.items()}
        if not values:
            return Figures()
        endpoint, zeroed, noise = (values.pop(name) for name in ("endpoint", "endpoint_zeroed", "noise"))
        values["padding/teacher/endpoint_to_noise"] = endpoint["padding/abs_mean"] / noise["padding/abs_mean"]
        for key, value in zeroed.items():
            part, statistic = key.split("/")
            values[f"{part}/teacher/endpoint_zeroed_{statistic}"] = value
        return figures(values)


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
