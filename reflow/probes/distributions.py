"""Does the student draw from the teacher's distribution? Per observation, from many noises each.

The teacher's endpoints from one set of noises are the reference. From another set, the student's are held
against it, and so are the teacher's own: what distance two samples of one distribution have is the null. The
two share that other set, so a student equal to its teacher has exactly the null's figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from reflow.metrics import (
    EnergyDistance,
    MaximumMeanDiscrepancy,
    ModeCoverage,
    SlicedWassersteinDistance,
    VarianceRatio,
)
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import STUDENT, TEACHER, Observations, Observed, Purpose
from reflow.probes.probe import Probe, check_steps

LEAST_NOISES = 64
"""Fewer say nothing of a distribution; the metrics refuse them too."""


class Distributions(Probe):
    """Figures ``distribution/<distance>@n`` of student@n, and ``distribution/<distance>_null``.

    Distances are ``sliced_wasserstein``, ``energy``, ``mmd``; beside them ``variance_ratio``, ``mode_coverage`` and
    ``mode_evenness``. ``distribution/modes`` is how many modes the teacher's distributions have.

    Args:
        nfe: step counts of the student.
        observations: at least so many are measured, in whole batches.
        noises: per observation and set.
        projections: directions of the sliced Wasserstein distance.
        seed: of those directions.
    """

    def __init__(
        self, nfe: Sequence[int], *, observations: int, noises: int, projections: int = 256, seed: int = 0
    ) -> None:
        self.nfe, self.observations, self.noises = check_steps(nfe), observations, noises
        self.projections, self.seed = projections, seed

    def make(self, by: Observations) -> dict[str, Metric]:
        """All distances of every step count, and of the null."""
        self._left = self.observations
        found: dict[str, Metric] = {}
        for suffix in (*(f"@{n}" for n in self.nfe), "_null"):
            found[f"sliced_wasserstein{suffix}"] = SlicedWassersteinDistance(
                by.space, self.projections, self.seed
            )
            found[f"energy{suffix}"] = EnergyDistance(by.space)
            found[f"mmd{suffix}"] = MaximumMeanDiscrepancy(by.space)
            found[f"variance_ratio{suffix}"] = VarianceRatio(by.space)
            found[f"mode{suffix}"] = ModeCoverage(by.space)
        return found

    def update(self, seen: Observed) -> None:
        """Adds a batch, as long as observations are wanted."""
        if self._left <= 0:
            return
        self._left -= len(seen.sample)
        reference = seen.walk(TEACHER, seen.noise(Purpose.REFERENCE, self.noises))
        anew = seen.noise(Purpose.ANEW, self.noises)
        self._compare("_null", seen.walk(TEACHER, anew), reference)
        for n in self.nfe:
            self._compare(f"@{n}", seen.walk(STUDENT, anew, n), reference)

    def _compare(self, suffix: str, x: Float[Tensor, "b n h d"], reference: Float[Tensor, "b m h d"]) -> None:
        for name, metric in self.metrics.items():
            if name.endswith(suffix):
                metric.update(x, reference)

    def result(self) -> Figures:
        """Every distance of every step count, and the nulls."""
        found: dict[str, Tensor] = {}
        for name, metric in self.metrics.items():
            value = metric.compute()
            if isinstance(metric, ModeCoverage):
                kind = name.removeprefix("mode")
                found[f"distribution/mode_coverage{kind}"] = value["coverage"]
                found[f"distribution/mode_evenness{kind}"] = value["evenness"]
                found["distribution/modes"] = value["modes"]  # of the reference, the same for all
            else:
                found[f"distribution/{name}"] = value
        return figures(found)
