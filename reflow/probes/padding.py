"""What padding dimensions hold and do, as deployed: for every policy, beside the real ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from reflow.flow import ActionSpace, PaddingRule
from reflow.metrics import PaddingStatistics, RepaddingDifference, Sensitivity
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import TEACHER, Observations, Observed, Purpose
from reflow.probes.probe import Probe

SAMPLES = 20_000
"""Values at most in a histogram array."""
_HOW = ("sensitivity", "sensitivity_zeroed")


class PaddingAsDeployed(Probe):
    """The founding report's padding table, and samples for histograms.

    Figures ``{real,padding}/<who>/{endpoint,velocity}_<statistic>`` (velocity at t = 1), where there is padding
    ``padding/teacher/repadding_{max,mean}`` (full against re-padded endpoint), ``padding/<who>/sensitivity`` (how far
    real dimensions move when padding noise is drawn anew) and ``..._zeroed`` (when it is set to zero). Where the
    training's padding rule is known, ``{real,padding}/training/noise_<statistic>`` too. Arrays
    ``histogram/<who>/{endpoint,velocity,noise}/{real,padding}``; the student's noise is that of its training, where
    it is known.
    """

    def make(self, by: Observations) -> dict[str, Metric]:
        """Statistics, and what padding does."""
        self._space = by.space
        self._samples: dict[str, _Reservoir] = {}
        names = [f"{who}/{what}" for who in by.policies for what in ("endpoint", "velocity")]
        names += ["training/noise"] if by.rule else []
        found: dict[str, Metric] = {name: PaddingStatistics(by.space) for name in names}
        if by.space.padding_dim:
            found |= {f"{who}/{how}": Sensitivity(by.space) for who in by.policies for how in _HOW}
            found["teacher/repadding"] = RepaddingDifference(by.space)
        return found

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        space, rule = self._space, seen.by.rule
        at_noise = torch.ones(seen.randn.shape[:2], device=seen.randn.device)
        if rule:
            self.metrics["training/noise"].update(rule.noise(seen.randn))
        for who in seen.by.policies:
            tensors = {"endpoint": seen.end(who), "velocity": seen.velocity(who, seen.randn, at_noise)}
            for what, tensor in tensors.items():
                self.metrics[f"{who}/{what}"].update(tensor)
            noise = rule.noise(seen.randn) if rule and who != TEACHER else seen.randn
            for what, tensor in (tensors | {"noise": noise}).items():
                for part, values in (("real", space.real(tensor)), ("padding", space.padding(tensor))):
                    name = f"histogram/{who}/{what}/{part}"
                    self._samples.setdefault(name, _Reservoir(SAMPLES)).add(values)
        if space.padding_dim:
            self.metrics["teacher/repadding"].update(seen.endpoint)
            # One noise per observation is enough here; each costs another two integrations.
            start, redrawn = seen.randn[:, :1], seen.noise(Purpose.REDRAWN_PADDING, 1)
            zeroed = PaddingRule(space, noise_dims="real").noise(start)
            for how, noise in zip(_HOW, (swap_padding(space, start, redrawn), zeroed), strict=True):
                for who in seen.by.policies:
                    self.metrics[f"{who}/{how}"].update(seen.end(who)[:, :1], seen.walk(who, noise))

    def result(self) -> Figures:
        """The table, and the samples."""
        found: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            value = metric.compute()
            if isinstance(metric, PaddingStatistics):
                for key, one in value.items():
                    part, statistic = key.split("/")
                    found[f"{part}/{name}_{statistic}"] = one
            elif isinstance(metric, RepaddingDifference):
                found |= {f"padding/{name}_{key}": one for key, one in value.items()}
            else:
                found[f"padding/{name}"] = value
        samples = {name: one.values for name, one in self._samples.items()}
        return figures(found, {name: values for name, values in samples.items() if len(values)})


def swap_padding(
    space: ActionSpace, real_from: Float[Tensor, "*b d"], padding_from: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b d"]:
    """The real dimensions of the one and the padding of the other."""
    return torch.cat([space.real(real_from), space.padding(padding_from)], dim=-1)


class _Reservoir:
    """A random sample of all values that ever came: those with the largest random keys."""

    def __init__(self, size: int) -> None:
        self._size, self._random = size, torch.Generator().manual_seed(0)
        self.values, self._keys = torch.empty(0), torch.empty(0)

    def add(self, values: Tensor) -> None:
        flat = values.flatten().float().cpu()
        self.values = torch.cat([self.values, flat])
        self._keys = torch.cat([self._keys, torch.rand(len(flat), generator=self._random)])
        if len(self.values) > self._size:
            self._keys, kept = self._keys.topk(self._size)
            self.values = self.values[kept]
