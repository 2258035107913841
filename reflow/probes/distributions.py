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

from reflow.flow import ActionSpace
from reflow.metrics import (
    EnergyDistance,
    MaximumMeanDiscrepancy,
    ModeCoverage,
    SlicedWassersteinDistance,
    VarianceRatio,
)
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observed, Purpose

LEAST_NOISES = 64
"""Fewer say nothing of a distribution; the metrics refuse them too."""


class Distributions:
    """Figures ``distribution/<distance>@n`` of student@n, and ``distribution/<distance>_null``.

    Distances are ``sliced_wasserstein``, ``energy``, ``mmd``; beside them ``variance_ratio``, ``mode_coverage`` and
    ``mode_evenness``. ``distribution/modes`` is how many modes the teacher's distributions have.

    Args:
        space: of both policies.
        nfe: step counts of the student.
        observations: at least so many are looked at, in whole batches.
        noises: per observation and set.
        projections: directions of the sliced Wasserstein distance.
        seed: of those directions.
    """

    def __init__(
        self,
        space: ActionSpace,
        nfe: Sequence[int],
        *,
        observations: int,
        noises: int,
        projections: int = 256,
        seed: int = 0,
    ) -> None:
        self.nfe, self.noises, self._left = tuple(nfe), noises, observations

        def metrics() -> dict[str, Metric]:
            return {
                "sliced_wasserstein": SlicedWassersteinDistance(space, projections, seed),
                "energy": EnergyDistance(space),
                "mmd": MaximumMeanDiscrepancy(space),
                "variance_ratio": VarianceRatio(space),
                "modes": ModeCoverage(space),
            }

        self._metrics = {suffix: metrics() for suffix in (*(f"@{n}" for n in nfe), "_null")}

    def update(self, seen: Observed) -> None:
        """Adds a batch, as long as there are observations to look at."""
        if self._left <= 0:
            return
        self._left -= len(seen.sample)
        reference = seen.walk("teacher", seen.noise(Purpose.REFERENCE, self.noises))
        anew = seen.noise(Purpose.ANEW, self.noises)
        self._compare("_null", seen.walk("teacher", anew), reference)
        for n in self.nfe:
            self._compare(f"@{n}", seen.walk("student", anew, n), reference)

    def _compare(self, suffix: str, x: Float[Tensor, "b n h d"], reference: Float[Tensor, "b m h d"]) -> None:
        for metric in self._metrics[suffix].values():
            metric.to(x.device).update(x, reference)

    def result(self) -> Figures:
        """Every distance of every step count, and the nulls."""
        found: dict[str, Tensor] = {}
        for suffix, metrics in self._metrics.items():
            values = {name: metric.compute() for name, metric in metrics.items()}
            modes = values.pop("modes")
            values |= {"mode_coverage": modes["coverage"], "mode_evenness": modes["evenness"]}
            found |= {f"distribution/{name}{suffix}": value for name, value in values.items()}
            found["distribution/modes"] = modes["modes"]  # of the reference, the same for all
        return figures(found)
