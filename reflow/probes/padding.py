"""What padding dimensions hold and do, as deployed: for teacher and student, beside the real ones."""

from __future__ import annotations

from collections import defaultdict

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import ActionSpace, PaddingRule
from reflow.metrics import PaddingStatistics, RepaddingDifference, Sensitivity
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import WHO, Observed, Purpose, Who

SAMPLES = 20_000
"""Values at most in a histogram array."""


class PaddingAsDeployed:
    """The founding report's padding table, as the training run logs it, and samples for histograms.

    Figures ``{real,padding}/<who>/{endpoint,velocity}_<statistic>`` (velocity at t = 1),
    ``padding/teacher/repadding_{max,mean}``, ``padding/<who>/sensitivity`` (padding noise drawn anew) and
    ``..._zeroed``. Arrays ``histogram/<who>/{endpoint,velocity,noise}/{real,padding}``.

    Args:
        space: of both policies.
        batches: that will come; each gives its share of the samples.
    """

    def __init__(self, space: ActionSpace, batches: int) -> None:
        self.space, self._share = space, max(1, SAMPLES // batches)
        self._statistics = {
            (who, what): PaddingStatistics(space) for who in WHO for what in ("endpoint", "velocity")
        }
        self._repadding = RepaddingDifference(space)
        self._sensitivity = {
            (who, how): Sensitivity(space) for who in WHO for how in ("sensitivity", "sensitivity_zeroed")
        }
        self._samples: dict[str, list[Tensor]] = defaultdict(list)

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        at_noise = torch.ones_like(seen.uniform)
        self._repadding.to(seen.randn.device).update(seen.endpoint)
        for who in WHO:
            end = seen.end(who)
            tensors = {"endpoint": end, "velocity": seen.velocity(who, seen.randn, at_noise)}
            for what, tensor in tensors.items():
                self._statistics[who, what].to(tensor.device).update(tensor)
            for what, tensor in (tensors | {"noise": seen.randn}).items():
                self._sample(f"histogram/{who}/{what}", tensor)
            if self.space.padding_dim:
                self._feel(seen, who, end[:, :1])

    def _feel(self, seen: Observed, who: Who, end: Float[Tensor, "b 1 h d"]) -> None:
        # One noise per observation is enough here; each costs another two walks.
        start, redrawn = seen.randn[:, :1], seen.noise(Purpose.REDRAWN_PADDING, 1)
        other = {
            "sensitivity": torch.cat([self.space.real(start), self.space.padding(redrawn)], dim=-1),
            "sensitivity_zeroed": PaddingRule(self.space, noise_dims="real").noise(start),
        }
        for how, noise in other.items():
            self._sensitivity[who, how].to(noise.device).update(end, seen.walk(who, noise))

    def _sample(self, name: str, tensor: Float[Tensor, "b k h d"]) -> None:
        for part, values in (("real", self.space.real(tensor)), ("padding", self.space.padding(tensor))):
            flat = values.flatten().cpu()
            # A stride would meet the same dimensions again and again.
            order = torch.randperm(len(flat), generator=torch.Generator().manual_seed(0))
            self._samples[f"{name}/{part}"].append(flat[order[: self._share]])

    def result(self) -> Figures:
        """The table, and the samples."""
        metrics: dict[str, Tensor] = {}
        for (who, what), statistics in self._statistics.items():
            for key, value in statistics.compute().items():
                part, statistic = key.split("/")
                metrics[f"{part}/{who}/{what}_{statistic}"] = value
        if self.space.padding_dim:
            metrics |= {f"padding/teacher/repadding_{key}": x for key, x in self._repadding.compute().items()}
            metrics |= {f"padding/{who}/{how}": x.compute() for (who, how), x in self._sensitivity.items()}
        samples = {name: torch.cat(parts) for name, parts in self._samples.items()}
        return figures(metrics, {name: values for name, values in samples.items() if len(values)})
