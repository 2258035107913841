"""Where in (0, 1] a training time falls: time samplers, written as inverse cumulative distribution functions.

A sampler maps a uniform number to a time, so time is a pure function of that number (`reflow.flow.random`
makes it) and owns no generator. Every sampler is non-decreasing, computes in float64, returns the dtype it
was given, and never returns 0: no step of a solver starts there.

Left out: drawing the uniform numbers, and weighting the loss by time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError

# A 24-bit uniform number is 0 or at least 2**-24. Zero stands for the cell [0, 2**-24), whose middle every
# inverse CDF below maps to a finite time above 0.
_SMALLEST_UNIFORM = 2.0**-25


class TimeSampler(Protocol):
    """Anything that maps uniform numbers in [0, 1) to times in (0, 1], elementwise."""

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers to times.

        Args:
            u: Uniform numbers in [0, 1), any shape.

        Returns:
            Times in (0, 1], same shape and dtype.
        """
        ...


def _positive(field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise UserError(f"{field} is {value}; allowed: finite and above 0; give {field} a positive number")


def _to_float64(u: Tensor) -> Tensor:
    return u.to(torch.float64).clamp(min=_SMALLEST_UNIFORM)


def _to_time(t: Tensor, u: Tensor) -> Tensor:
    """Return ``t`` in the dtype of ``u``, kept inside (0, 1] where rounding has pushed it out."""
    return t.to(u.dtype).clamp(min=torch.finfo(u.dtype).tiny, max=1.0)


@dataclass(frozen=True)
class UniformTime:
    """Every time equally likely (Liu et al. 2022, "Flow Straight and Fast", eq. 1)."""

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers in [0, 1) to times in (0, 1], elementwise."""
        return _to_time(_to_float64(u), u)


@dataclass(frozen=True)
class BetaTime:
    """``t = offset + scale * Beta(alpha, 1)``: leans towards noise (Black et al. 2024, "pi0", appendix B).

    The defaults are those of LeRobot's pi0, pi05 and SmolVLA, and of openpi.

    Attributes:
        alpha: First shape parameter, above 0; at 1 the distribution is uniform.
        beta: Second shape parameter; 1 only, where the inverse has a closed form.
        scale: Width of the support, above 0.
        offset: Start of the support, at least 0; ``offset + scale`` at most 1.

    Raises:
        UserError: If a field is outside the range above.
    """

    alpha: float = 1.5
    beta: float = 1.0
    scale: float = 0.999
    offset: float = 0.001

    def __post_init__(self) -> None:
        _positive("alpha", self.alpha)
        if self.beta != 1.0:
            raise UserError(
                f"beta is {self.beta}; allowed: 1.0, for which Beta(alpha, beta) has a closed-form inverse; "
                "shape the distribution with alpha, or use LogitNormalTime or UShapedTime"
            )
        _positive("scale", self.scale)
        # 0.9 + 0.1 style sums may exceed 1 by rounding; _to_time clamps those.
        if not (self.offset >= 0 and self.offset + self.scale <= 1 + 1e-9):
            raise UserError(
                f"offset is {self.offset} with scale {self.scale}; allowed: offset at least 0 and "
                "offset + scale at most 1, so that time stays in (0, 1]; lower one of the two"
            )

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers in [0, 1) to times in (offset, offset + scale], elementwise."""
        return _to_time(_to_float64(u) ** (1.0 / self.alpha) * self.scale + self.offset, u)


@dataclass(frozen=True)
class UShapedTime:
    """Both ends likelier than the middle: density proportional to ``exp(a t) + exp(a (1 - t))`` on [0, 1].

    From Lee et al. 2024, "Improving the Training of Rectified Flows", section 4. Often quoted as
    ``exp(a t) + exp(-a t)``, which on [0, 1] only rises; the authors' code (rfpp, ``t_dist.py``) draws from
    an exponential and mirrors half of the draws, which is the U meant, and the density here.

    Attributes:
        a: Depth of the U, above 0 (the limit 0 is uniform).

    Raises:
        UserError: If ``a`` is not a positive finite number.
    """

    a: float = 4.0

    def __post_init__(self) -> None:
        _positive("a", self.a)
        if self.a > 700.0:
            raise UserError(f"a is {self.a}; allowed: at most 700, above which exp(a) overflows; lower it")

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers in [0, 1) to times in (0, 1], elementwise."""
        # The CDF is 1/2 + sinh(a (t - 1/2)) / (2 sinh(a / 2)).
        centred = torch.asinh((2.0 * _to_float64(u) - 1.0) * math.sinh(self.a / 2.0))
        return _to_time(0.5 + centred / self.a, u)


@dataclass(frozen=True)
class LogitNormalTime:
    """``t = sigmoid(z)``, ``z`` normal: the middle likelier (Esser et al. 2024, "SD3", eq. 19).

    Attributes:
        mean: Mean of ``z``; above 0 leans towards noise.
        std: Standard deviation of ``z``, above 0.

    Raises:
        UserError: If ``mean`` is not finite or ``std`` is not a positive finite number.
    """

    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if not math.isfinite(self.mean):
            raise UserError(f"mean is {self.mean}; allowed: any finite number; 0.0 is symmetric")
        _positive("std", self.std)

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers in [0, 1) to times in (0, 1], elementwise."""
        return _to_time(torch.sigmoid(self.mean + self.std * torch.special.ndtri(_to_float64(u))), u)


@dataclass(frozen=True)
class GridTime:
    """Only the times at which a ``num_steps``-step Euler solver asks: {1/n, 2/n, ..., 1}, equally likely.

    Of several numbers of steps, the times of them all: each number is as likely as any other, and so is each time of
    one. t = 1, where all of them begin, is the likeliest.

    Attributes:
        num_steps: The number of steps ``n`` of that solver, at least 1; or several such numbers.

    Raises:
        UserError: If there is no number, or one below 1.

    Example:
        >>> GridTime(4)(torch.tensor([0.0, 0.3, 0.6, 0.9])).tolist()
        [0.25, 0.5, 0.75, 1.0]
        >>> GridTime([1, 2])(torch.tensor([0.0, 0.2, 0.3, 0.9])).tolist()
        [0.5, 0.5, 1.0, 1.0]
    """

    num_steps: int | Sequence[int]

    def __post_init__(self) -> None:
        if not self.counts or self.counts[0] < 1:
            raise UserError(f"num_steps is {self.num_steps}; allowed: 1 or more; 1 is EndpointTime")
        one = self.counts[0] if len(self.counts) == 1 else self.counts
        object.__setattr__(self, "num_steps", one)  # so that equal grids are equal

    @property
    def counts(self) -> tuple[int, ...]:
        """The numbers of steps, in order."""
        return (self.num_steps,) if isinstance(self.num_steps, int) else tuple(sorted(set(self.num_steps)))

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map uniform numbers in [0, 1) to times of the grid, elementwise."""
        # (cell + 1) / n in the arithmetic of `solvers.integrate`, so the two agree to the last bit.
        if isinstance(n := self.num_steps, int):  # without a table, which a device would wait for
            cell = torch.floor(u.to(torch.float64) * n).clamp(max=n - 1)
            return _to_time(1.0 + (n - 1 - cell) * (-1.0 / n), u)
        cells = ((1.0 + step * (-1.0 / n), n) for n in self.counts for step in range(n))
        times, steps = (
            torch.tensor(column, dtype=torch.float64, device=u.device)
            for column in zip(*sorted(cells), strict=True)
        )
        # Where each cell ends, in cells of the common denominator: exact, and so is its comparison.
        parts = math.lcm(*self.counts)
        ends = torch.cumsum(parts / steps, 0)
        cell = torch.searchsorted(ends, u.to(torch.float64) * parts * len(self.counts), right=True)
        return _to_time(times[cell.clamp(max=len(times) - 1)], u)


@dataclass(frozen=True)
class EndpointTime:
    """Only ``t = 1``: the one time at which a one-step student is asked."""

    def __call__(self, u: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map every uniform number to 1."""
        return torch.ones_like(u)
