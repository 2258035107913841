"""What padding dimensions hold and do, as deployed: for every policy, beside the real ones."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import ActionSpace, PaddingRule
from reflow.metrics import PaddingStatistics, RepaddingDifference, Sensitivity
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import TEACHER, Observations, Observed, Purpose
from reflow.probes.probe import Probe

SAMPLES = 20_000
"""Values at most in a histogram array."""


class PaddingAsDeployed(Probe):
    """The founding report's padding table, and samples for histograms.

    Figures ``{real,padding}/<who>/{endpoint,velocity}_<statistic>`` (velocity at t = 1), where there is padding
    ``padding/teacher/repadding_{max,mean}`` (full against re-padded endpoint), ``padding/<who>/sensitivity`` (how far
    real dimensions move when padding noise is drawn anew) and ``..._zeroed`` (when it is set to zero). Where the
    training's padding rule is known, ``{real,padding}/training/noise_<statistic>`` too. Arrays
    ``histogram/<who>/{endpoint,velocity,noise}/{real,padding}``; the student's noise is that of its training, where
    it is known.
    """

    def start(self, by: Observations, *, thorough: bool = True) -> None:
        """Forgets what was seen."""
        super().start(by, thorough=thorough)
        self._samples: dict[str, _Reservoir] = {}

    def update(self, seen: Observed) -> None:
        """Adds a batch."""
        space, rule = seen.by.space, seen.by.rule
        at_noise = torch.ones(seen.randn.shape[:2], device=seen.randn.device)
        trained = rule.noise(seen.randn) if rule else seen.randn
        if rule:
            self.add("{part}/training/noise_{key}", PaddingStatistics, trained)
        for who in seen.by.policies:
            tensors = {"endpoint": seen.end(who), "velocity": seen.velocity(who, seen.randn, at_noise)}
            for what, tensor in tensors.items():
                self.add(f"{{part}}/{who}/{what}_{{key}}", PaddingStatistics, tensor)
            tensors["noise"] = seen.randn if who == TEACHER else trained
            for what, tensor in tensors.items():
                for part, values in (("real", space.real(tensor)), ("padding", space.padding(tensor))):
                    name = f"histogram/{who}/{what}/{part}"
                    self._samples.setdefault(name, _Reservoir(SAMPLES)).add(values)
        if not space.padding_dim:
            return
        self.add("padding/teacher/repadding_{key}", RepaddingDifference, seen.endpoint)
        # One noise per observation is enough here; each costs another two integrations.
        start, redrawn = seen.randn[:, :1], seen.noise(Purpose.REDRAWN_PADDING, 1)
        zeroed = PaddingRule(space, noise_dims="real").noise(start)
        for how, noise in (("", swap_padding(space, start, redrawn)), ("_zeroed", zeroed)):
            for who in seen.by.policies:
                ends = seen.end(who)[:, :1], seen.walk(who, noise)
                self.add(f"padding/{who}/sensitivity{how}", Sensitivity, *ends)

    def result(self) -> Figures:
        """The table, and the samples."""
        samples = {name: one.values for name, one in self._samples.items() if len(one.values)}
        return super().result() | figures({}, samples)


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
