"""What is measured of an observation set: a probe takes batch after batch and says what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from reflow.errors import UserError
from reflow.flow import ActionSpace
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observations, Observed


class Probe(ABC):
    """A measurement: its constructor takes settings, `update` adds to metrics that come into being there.

    Attributes:
        metrics: by the name of their figure, see `result`; they add up over batches and processes.
        thorough: everything is asked for. During training it is not: what is expensive, or never changes, waits for
            the end.
    """

    metrics: dict[str, Metric]
    thorough: bool

    def start(self, by: Observations, *, thorough: bool = True) -> None:
        """Forgets what was seen.

        Args:
            by: whose observations will come.
            thorough: see :class:`Probe`.
        """
        self.by, self.thorough, self.metrics = by, thorough, {}

    @abstractmethod
    def update(self, seen: Observed) -> None:
        """Adds a batch."""

    def add(self, name: str, kind: Callable[[ActionSpace], Metric], *values: Tensor) -> None:
        """Adds to the metric of this name, new where there is none yet."""
        if name not in self.metrics:
            self.metrics[name] = kind(self.by.space).to(values[0].device)
        self.metrics[name].update(*values)

    def result(self) -> Figures:
        """What was found in all batches together.

        A metric of one number is a figure, one of a tensor an array. One of several numbers by name has ``{key}`` in
        its own, and ``{part}`` where theirs are of two parts (``real/mean``).
        """
        numbers, arrays = dict[str, Tensor](), dict[str, Tensor]()
        for name, metric in self.metrics.items():
            value = metric.compute()
            if isinstance(value, dict):
                for key, number in value.items():
                    part, _, rest = key.rpartition("/")
                    numbers[name.format(part=part, key=rest)] = number
            else:
                (arrays if value.ndim else numbers)[name] = value
        return figures(numbers, arrays)


@torch.no_grad()
def measure(by: Observations, observed: Iterable[Observed], probes: Sequence[Probe]) -> Figures:
    """Shows an observation set to every probe.

    Args:
        by: whose observations they are.
        observed: batches of ``by``.
        probes: what is asked.
    """
    for probe in probes:
        probe.start(by)
    for seen in observed:
        for probe in probes:
            probe.update(seen)
    found = Figures()
    for probe in probes:
        found |= probe.result()
    return found


def check_steps(nfe: Sequence[int]) -> tuple[int, ...]:
    """Numbers of steps, if they are some.

    Raises:
        UserError: there is none, or one is below 1.
    """
    if not nfe or min(nfe) < 1:
        raise UserError(f"nfe is {list(nfe)}; allowed: one or more numbers of steps, each 1 or more")
    return tuple(nfe)
