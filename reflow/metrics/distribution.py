"""How far apart two clouds of chunks are: sliced Wasserstein, energy distance, mean discrepancy, variance.

All but the variance ratio are above 0 even for two clouds of one and the same policy, since clouds are finite;
so each is to be read beside its null, the teacher against itself with other noises. The squares (energy and
discrepancy) exceed their null, on average, by just what an infinite number of noises would give.

Left out: whether whole modes are missing (`ModeCoverage`).
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace
from reflow.metrics.clouds import CloudDistance, CloudMetric

# Of the median distance; several, since one width sees only differences of its own size.
_BANDWIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0)


def random_directions(projections: int, width: int, seed: int) -> Float64[Tensor, "p w"]:
    """Draw unit vectors, uniformly on the sphere.

    Args:
        projections: How many, at least 1.
        width: Of the space they live in, at least 1.
        seed: The only thing they depend on, 0 or more.

    Returns:
        ``[projections, width]``, on the CPU.
    """
    normal = np.random.Generator(np.random.Philox(seed)).normal(size=(projections, width))
    return torch.from_numpy(normal / np.linalg.norm(normal, axis=1, keepdims=True))


def sliced_wasserstein(
    x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"], directions: Float64[Tensor, "p w"]
) -> Float64[Tensor, ""]:
    """Average the Wasserstein-1 distance of the two clouds along directions (Rabin et al. 2012).

    Along one direction it is ``integral |F^-1(q) - G^-1(q)| dq`` of the empirical quantile functions: for
    equally many points, the mean difference between the sorted ones.

    Args:
        x: One cloud.
        reference: The other.
        directions: Unit vectors.

    Returns:
        A distance in the unit of the points, at least 0.
    """
    n, m = len(x), len(reference)
    # Quantiles in units of 1 / (n m): where either function jumps. Whole numbers, so that equal ones are equal.
    edges = torch.from_numpy(np.union1d(np.arange(n + 1) * m, np.arange(m + 1) * n)).to(x.device)
    ours = (x @ directions.T).sort(dim=0).values[edges[:-1] // m]
    theirs = (reference @ directions.T).sort(dim=0).values[edges[:-1] // n]
    widths = edges.diff().double() / (n * m)
    return ((ours - theirs).abs().mean(dim=1) * widths).sum()


def energy_distance(x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Float64[Tensor, ""]:
    """Compute ``2 E||X - Y|| - E||X - X'|| - E||Y - Y'||`` (Székely and Rizzo 2013), over all pairs of points.

    No root is taken: it is the square of what `scipy.stats.energy_distance` returns for one dimension. A point
    is also paired with itself (the V-statistic), so that it is at least 0, and 0 where the clouds are equal.

    Args:
        x: One cloud.
        reference: The other.

    Returns:
        A number in the unit of the points, at least 0.
    """
    between, within_x, within_reference = (
        pairs.mean()
        for pairs in (_distances(x, reference), _distances(x, x), _distances(reference, reference))
    )
    # Rounding can leave it a little below 0.
    return (2 * between - within_x - within_reference).clamp(min=0)


def maximum_mean_discrepancy(
    x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]
) -> Float64[Tensor, ""]:
    """Compute the square of the maximum mean discrepancy, with Gaussian kernels of several bandwidths.

    ``E k(X, X') + E k(Y, Y') - 2 E k(X, Y)``, the biased estimate of Gretton et al. 2012 (equation 5): a point is
    also paired with itself, so that it is at least 0, and 0 where the clouds are equal. The kernel is the mean of
    ``exp(-||x - y||^2 / (2 s^2))`` over ``s`` of 1/4, 1/2, 1, 2 and 4 times the median distance between two
    points of ``reference``. Where that median is 0 (the teacher gives one chunk whatever the noise) the kernel
    becomes its own limit: 1 for equal points, otherwise 0.

    Args:
        x: One cloud.
        reference: The other, which sets the bandwidths.

    Returns:
        A number without a unit, from 0 to 2.
    """
    within = _distances(reference, reference)
    m = len(reference)
    rows, columns = torch.triu_indices(m, m, offset=1, device=within.device)
    median = within[rows, columns].quantile(0.5)
    kernels = (
        _kernel(_distances(x, x), median),
        _kernel(within, median),
        _kernel(_distances(x, reference), median),
    )
    within_x, within_reference, between = (kernel.mean() for kernel in kernels)
    return (within_x + within_reference - 2 * between).clamp(min=0)


def _kernel(distances: Float64[Tensor, "n m"], median: Float64[Tensor, ""]) -> Float64[Tensor, "n m"]:
    ratios = torch.where(distances == 0, 0.0, distances / median)
    return torch.stack([torch.exp(-0.5 * (ratios / factor).square()) for factor in _BANDWIDTHS]).mean(dim=0)


def _distances(x: Float64[Tensor, "n w"], y: Float64[Tensor, "m w"]) -> Float64[Tensor, "n m"]:
    # Through a product of matrices it would be faster, and a point would not be at 0 from itself.
    return torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")


class SlicedWassersteinDistance(CloudDistance):
    """Mean over observations of `sliced_wasserstein`, all along the same directions.

    In normalised action units, averaged over directions: among ``w = h * a`` numbers that all differ by one,
    the average direction sees about ``sqrt(2 / pi)`` of it.

    Args:
        space: Knows which dimensions are real.
        projections: Number of directions, at least 1.
        seed: Of the directions, 0 or more.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Raises:
        UserError: If a number is out of range.

    Example:
        >>> distance = SlicedWassersteinDistance(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=1))
        >>> reference = torch.linspace(-1, 1, 64).reshape(1, 64, 1, 1).expand(-1, -1, -1, 2)
        >>> distance.update(reference + 0.5, reference)
        >>> distance.compute()
        tensor(0.5000, dtype=torch.float64)
    """

    def __init__(
        self, space: ActionSpace, projections: int = 256, seed: int = 0, least: int = 64, **kwargs: Any
    ) -> None:
        super().__init__(space, least=least, **kwargs)
        if projections < 1:
            raise UserError(f"projections is {projections}; allowed: 1 or more; 256 leave about 5 % of noise")
        if seed < 0:
            raise UserError(f"seed is {seed}; allowed: 0 or more; any such number will do")
        self.projections = projections
        self.seed = seed

    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        directions = random_directions(self.projections, x.shape[1], self.seed)
        return sliced_wasserstein(x, reference, directions.to(x.device))


class EnergyDistance(CloudDistance):
    """Mean over observations of `energy_distance`: no root taken, 0 for equal clouds.

    Args:
        space: Knows which dimensions are real.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> distance = EnergyDistance(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=1))
        >>> reference = torch.zeros(1, 64, 1, 2)
        >>> distance.update(reference + 0.5, reference)
        >>> distance.compute()
        tensor(1., dtype=torch.float64)
    """

    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        return energy_distance(x, reference)


class MaximumMeanDiscrepancy(CloudDistance):
    """Mean over observations of `maximum_mean_discrepancy`: the square, biased, 0 for equal clouds.

    Args:
        space: Knows which dimensions are real.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> discrepancy = MaximumMeanDiscrepancy(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=1))
        >>> reference = torch.zeros(1, 64, 1, 2)
        >>> discrepancy.update(reference + 0.5, reference)
        >>> discrepancy.compute()
        tensor(2., dtype=torch.float64)
    """

    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        return maximum_mean_discrepancy(x, reference)


class VarianceRatio(CloudMetric):
    """Variance of ``x`` over that of ``reference``, within observations.

    Both summed over all dimensions (the trace of the covariance, divided by noises less one) and over all
    observations before they are divided. Below 1 the student varies less than its teacher.

    Args:
        space: Knows which dimensions are real.
        least: How many noises each cloud must have, at least 2.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> ratio = VarianceRatio(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=1))
        >>> reference = torch.linspace(-1, 1, 64).reshape(1, 64, 1, 1).expand(-1, -1, -1, 2)
        >>> ratio.update(0.5 * reference, reference)
        >>> ratio.compute()
        tensor(0.2500, dtype=torch.float64)
    """

    def __init__(self, space: ActionSpace, least: int = 64, **kwargs: Any) -> None:
        super().__init__(space, figures=2, least=least, **kwargs)

    def _figures(self, x: Float64[Tensor, "n w"], reference: Float64[Tensor, "m w"]) -> Tensor:
        return torch.stack([cloud.var(dim=0).sum() for cloud in (x, reference)])

    def compute(self) -> Float64[Tensor, ""]:
        """Return the ratio; nan before the first observation, inf where only ``reference`` never varies."""
        return self.total[0] / self.total[1]
