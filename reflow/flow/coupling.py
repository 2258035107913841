"""The coupling that a student learns from: each noise with an action, the teacher's endpoint of it or the data's own.

Left out: where noise comes from (`reflow.flow.random`), and storing couplings.
"""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from reflow.flow.padding import PaddingRule


@dataclass(frozen=True)
class Coupling:
    """Noise, and the action it belongs to (Liu et al. 2022, "Flow Straight and Fast", section 2.1).

    Attributes:
        noise: ``[*b, h, d]``, the path's end at t = 1.
        action: Same shape, the path's end at t = 0; without a gradient.
        inside: ``[*b, h, 1]``, time steps of the action that are inside the episode; None where all are.
    """

    noise: Float[Tensor, "*b h d"]
    action: Float[Tensor, "*b h d"]
    inside: Bool[Tensor, "*b h 1"] | None = None

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
        inside = None if self.inside is None else self.inside.repeat_interleave(times, dim)
        noise, action = (end.repeat_interleave(times, dim) for end in (self.noise, self.action))
        return Coupling(noise, action, inside)

    def shuffled(self) -> "Coupling":
        """Every action with the noise of the observation's next draw: the same two distributions, independent.

        Returns:
            Of the same shapes; with two draws or more, no noise meets the action that it was carried to.
        """
        return Coupling(self.noise.roll(1, self.noise.ndim - 3), self.action, self.inside)


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
