"""Mode coverage: of the ways in which the teacher may act on one observation, how many the student still takes.

Modes are found in the teacher's cloud alone and without labels. The cloud is cut in two, and clusters found in
one half are judged by the other: in many dimensions, clusters always look well apart to the points that made
them.

Left out: what happens within a mode (`VarianceRatio`, the distances).
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float64, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace
from reflow.metrics.clouds import CloudMetric

# In pooled standard deviations. A single mode cut in two reaches 2.65 if Gaussian, 3.46 if uniform, 4.13 if it is
# an arc seen from the side; and not 5 in hundreds of draws of 64.
_SEPARATION = 5.0
# Share of the samples below which a cluster is a few outliers.
_SMALLEST = 0.1
# Standard deviations within which a sample belongs to a mode; less than half of the separation.
_REACH = 2.0
# Share of the reference's share that makes a mode covered.
_COVERED = 0.1
# Of the largest value: differences of rounding, even in a cloud that came as float32, are no distance.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class Modes:
    """The modes of a cloud of ``m`` points in ``w`` dimensions.

    Attributes:
        cloud: The points, ``[m, w]``, in an order that is a function of their values.
        labels: Mode of each point, ``[m]``, 0 to one less than the number of modes.
    """

    cloud: Float64[Tensor, "m w"]
    labels: Int64[Tensor, " m"]

    @property
    def count(self) -> int:
        """Number of modes, at least 1."""
        return int(self.labels.max()) + 1

    @property
    def centres(self) -> Float64[Tensor, "k w"]:
        """Mean of each mode, ``[k, w]``."""
        return torch.stack([self.cloud[self.labels == i].mean(dim=0) for i in range(self.count)])

    @property
    def rounding(self) -> float:
        """Distance below which two points are the same."""
        return _ROUNDING * self.cloud.abs().max().item()

    def shares(self, x: Float64[Tensor, "n w"]) -> Float64[Tensor, " k"]:
        """Count which share of other points each mode holds.

        A point belongs to the mode of the nearest centre, unless it is more than two standard deviations (root
        mean square distances of the mode's own points) away from it, or as much too far along the line to the
        centre of another mode. So a point between two modes belongs to neither.

        Args:
            x: The points, ``[n, w]``.

        Returns:
            ``[k]``, each from 0 to 1, with a sum of at most 1.
        """
        centres = self.centres
        nearest = torch.cdist(x, centres).argmin(dim=1)
        shares = []
        for i, centre in enumerate(centres):
            own, other = self.cloud[self.labels == i] - centre, x - centre
            inside = (nearest == i) & self._within(other.norm(dim=1), own.norm(dim=1))
            for j, neighbour in enumerate(centres):
                if j != i:
                    line = neighbour - centre
                    line = line / line.norm()
                    inside &= self._within(other @ line, own @ line)
            shares.append(inside.double().mean())
        return torch.stack(shares)

    def _within(self, x: Float64[Tensor, " n"], own: Float64[Tensor, " m"]) -> Tensor:
        return x <= _REACH * own.square().mean().sqrt() + self.rounding


def find_modes(cloud: Float64[Tensor, "m w"], most: int = 6) -> Modes:
    """Find the modes of a cloud, however many up to ``most``.

    The answer is the largest number of clusters (Ward 1963, agglomerative) of which every two are separated:
    projected onto the line between their centres, their means are more than 5 pooled standard deviations apart
    (the D of Ashman, Bird and Zepf 1994). Clusters found in one half of the cloud must be so in the other half, in
    both directions, and those of the whole cloud in itself. Each must have a tenth of the points, so that
    outliers are no mode. Where nothing is separated there is one mode.

    Args:
        cloud: Finite points, ``[m, w]``, in any order; of 64, a mode needs a share of about a fifth to be found.
        most: Largest number of modes looked for, at least 1.

    Returns:
        The modes.
    """
    rows = cloud.tolist()
    cloud = cloud[sorted(range(len(rows)), key=rows.__getitem__)]
    halves = cloud[0::2], cloud[1::2]
    for count in range(min(most, len(halves[1])), 1, -1):
        whole = Modes(cloud, _clusters(cloud, count))
        first, second = (Modes(half, _clusters(half, count)) for half in halves)
        if all(
            found.count == count and _are_separated(found, judge)
            for found, judge in ((first, second.cloud), (second, first.cloud), (whole, cloud))
        ):
            return whole
    return Modes(cloud, torch.zeros(len(cloud), dtype=torch.int64))


def _clusters(cloud: Float64[Tensor, "m w"], count: int) -> Int64[Tensor, " m"]:
    # Fewer than `count` where points are equal.
    labels = fcluster(linkage(cloud.numpy(), "ward"), count, "maxclust")
    return torch.from_numpy(labels).long() - 1


def _are_separated(modes: Modes, judge: Float64[Tensor, "m w"]) -> bool:
    centres = modes.centres
    nearest = torch.cdist(judge, centres).argmin(dim=1)
    for labels in (modes.labels, nearest):
        if torch.bincount(labels, minlength=len(centres)).min() < max(2, _SMALLEST * len(labels)):
            return False
    for i, j in combinations(range(len(centres)), 2):
        line = centres[j] - centres[i]
        length = line.norm()
        if length <= modes.rounding:
            return False
        below, above = (judge[nearest == label] @ line / length for label in (i, j))
        pooled = ((below.var() + above.var()) / 2).sqrt()
        if above.mean() - below.mean() <= _SEPARATION * pooled:
            return False
    return True


class ModeCoverage(CloudMetric):
    """How many of the reference's modes ``x`` reaches, and how evenly; averaged over observations.

    For each observation the modes of ``reference`` are found (`find_modes`), and each mode's share of either
    cloud is counted (`Modes.shares`). Then

    - ``coverage`` is the share of the reference's mass that lies in covered modes: those in which ``x`` has at
      least a tenth of the reference's share. 1 where no mode is lost; of two equal modes with one lost, 0.5; 0 for
      a student who does the average of both.
    - ``evenness`` is the mass that both put into the same modes, ``sum over modes of min(share of x, share of
      reference)``. 1 where ``x`` goes each way as often as the reference; less where it prefers one, or goes none.
    - ``modes`` is the number of modes found. At 1 the others only say whether ``x`` is where the reference is.

    Masses are counted alike in both clouds, and divided by the reference's, some of whose own points belong to no
    mode.

    Args:
        space: Knows which dimensions are real.
        most: Largest number of modes looked for, at least 1.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> coverage = ModeCoverage(ActionSpace(action_dim=1, max_action_dim=1, chunk_size=1))
        >>> left, right = torch.linspace(-1.1, -0.9, 32), torch.linspace(0.9, 1.1, 32)
        >>> reference = torch.cat([left, right]).reshape(1, 64, 1, 1)
        >>> coverage.update(reference.abs(), reference)  # goes right only
        >>> {name: value.item() for name, value in coverage.compute().items()}
        {'coverage': 0.5, 'evenness': 0.5, 'modes': 2.0}
    """

    higher_is_better = True

    def __init__(self, space: ActionSpace, most: int = 6, least: int = 64, **kwargs: Any) -> None:
        super().__init__(space, figures=3, least=least, **kwargs)
        if most < 1:
            raise UserError(
                f"most is {most}; allowed: 1 or more; few observations have more than 6 ways to act"
            )
        self.most = most

    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        if not reference.isfinite().all():
            raise UserError(
                "reference holds values that are not finite; allowed: finite numbers; the teacher diverged: look "
                "at its normalisation statistics and its number of steps"
            )
        modes = find_modes(reference.cpu(), self.most)
        ours, theirs = modes.shares(x.cpu()), modes.shares(modes.cloud)
        covered = ours >= _COVERED * theirs
        coverage, evenness = (theirs * covered).sum(), torch.minimum(ours, theirs).sum()
        figures = torch.stack(
            [coverage / theirs.sum(), evenness / theirs.sum(), coverage.new_tensor(modes.count)]
        )
        return figures.to(self.total.device)

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """Return ``coverage``, ``evenness`` and ``modes``; nan before the first observation."""
        return dict(zip(("coverage", "evenness", "modes"), self.total / self.count, strict=True))
