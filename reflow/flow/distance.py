"""How far an answer is from its target: the squared error, and robust kin of it that papers claim a gain for.

All start from the mean squared error of a chunk (:func:`reflow.flow.loss.velocity_loss`), so that padding and padded
time steps are left out of each in the same way.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError


class Distance(Protocol):
    """Turns the mean squared error of each chunk into what is averaged over chunks."""

    def __call__(self, error: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map mean squared errors, 0 or more, to the loss of each chunk.

        Args:
            error: Of each chunk, with gradients.

        Returns:
            Same shape.
        """
        ...


@dataclass(frozen=True)
class Squared:
    """The squared error itself (Lipman et al. 2023, eq. 9)."""

    def __call__(self, error: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """The error as it is."""
        return error


@dataclass(frozen=True)
class PseudoHuber:
    """``sqrt(error + c**2) - c``: squared near the target, linear far from it (Song & Dhariwal 2024, eq. 8).

    Attributes:
        c: Where the one becomes the other, in root mean squared error; above 0. The paper's 0.00054 times the root of
            the data's dimension, over a sum, is 0.00054 over a mean.

    Raises:
        UserError: If ``c`` is not a positive finite number.
    """

    c: float = 0.03

    def __post_init__(self) -> None:
        if not (math.isfinite(self.c) and self.c > 0):
            raise UserError(f"c is {self.c}; allowed: finite and above 0")

    def __call__(self, error: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map mean squared errors to losses of each chunk."""
        return (error + self.c**2).sqrt() - self.c


@dataclass(frozen=True)
class InverseWeighted:
    """``error / sg(error + c)**p``: every chunk weighs alike, however far off (Geng et al. 2025, "MeanFlow", eq. 22).

    Attributes:
        p: 0 is the squared error, 1 weighs by the inverse of the loss; 0 to 1.
        c: Keeps small errors from weighing too much, above 0; in mean squared error.

    Raises:
        UserError: If a number is out of range.
    """

    p: float = 1.0
    c: float = 1e-3

    def __post_init__(self) -> None:
        if not 0 <= self.p <= 1:
            raise UserError(f"p is {self.p}; allowed: 0 to 1")
        if not (math.isfinite(self.c) and self.c > 0):
            raise UserError(f"c is {self.c}; allowed: finite and above 0")

    def __call__(self, error: Float[Tensor, "*b"]) -> Float[Tensor, "*b"]:
        """Map mean squared errors to losses of each chunk."""
        return error / (error.detach() + self.c) ** self.p


SQUARED = Squared()
