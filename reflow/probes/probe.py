"""What is measured of an observation set: a probe takes batch after batch and says what it found."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence

import torch
from torchmetrics import Metric

from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observations, Observed


class Probe(ABC):
    """A measurement. What its constructor takes are settings; `start` makes the metrics, anew every time.

    Attributes:
        metrics: by name; they add up over batches and processes.
        thorough: everything is asked for. During training it is not: what is expensive, or never changes, waits for
            the end.
    """

    metrics: Mapping[str, Metric]
    thorough: bool

    def start(self, by: Observations, *, thorough: bool = True) -> None:
        """Forgets what was seen.

        Args:
            by: whose observations will come.
            thorough: see :class:`Probe`.
        """
        self.thorough = thorough
        self.metrics = {name: metric.to(by.device) for name, metric in self.make(by).items()}

    def make(self, by: Observations) -> dict[str, Metric]:
        """The metrics, new."""
        return {}

    @abstractmethod
    def update(self, seen: Observed) -> None:
        """Adds a batch."""

    def result(self) -> Figures:
        """What was found in all batches together."""
        return figures({name: metric.compute() for name, metric in self.metrics.items()})


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
        ValueError: there is none, or one is below 1.
    """
    if not nfe or min(nfe) < 1:
        raise ValueError(f"nfe is {list(nfe)}; allowed: one or more numbers of steps, each 1 or more")
    return tuple(nfe)
