"""The coupling that reflow learns from: each noise with the teacher's endpoint of it.

Left out: where noise comes from (`reflow.flow.random`), and storing couplings.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from reflow.flow.padding import PaddingRule


@dataclass(frozen=True)
class Coupling:
    """Noise, and the teacher's endpoint of it (Liu et al. 2022, "Flow Straight and Fast", section 2.1).

    Attributes:
        noise: ``[*b, h, d]``, the path's end at t = 1.
        action: Same shape, the path's end at t = 0; without a gradient.
    """

    noise: Float[Tensor, "*b h d"]
    action: Float[Tensor, "*b h d"]

    def repeat(self, times: int) -> "Coupling":
        """Each pair ``times`` times in a row, to be used at as many points of its path.

        Args:
            times: 1 or more.

        Returns:
            ``[*b, h, d]`` with its last leading dimension ``times`` as long.
        """
        if times == 1:
            return self
        dim = self.noise.ndim - 3
        return Coupling(self.noise.repeat_interleave(times, dim), self.action.repeat_interleave(times, dim))


def couple(randn: Float[Tensor, "*b h d"], endpoint: Float[Tensor, "*b h d"], rule: PaddingRule) -> Coupling:
    """Join noise and endpoint into what a student learns from, each through the padding rule.

    Args:
        randn: Standard normal draw at native width; not changed.
        endpoint: Where the teacher's integration ends, of the same shape.
        rule: Decides what of the draw the student starts from (``rule.noise``), and what of the endpoint is kept
            (``rule.target``).

    Returns:
        The student's noise, and the action to learn.

    Raises:
        UserError: If one of the two is not at native width.
    """
    return Coupling(noise=rule.noise(randn), action=rule.target(endpoint))
