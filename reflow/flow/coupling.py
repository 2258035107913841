"""The coupling that a student learns from: each noise with an action, the teacher's endpoint of it or the data's own.

Left out: where noise comes from (`reflow.flow.random`), and storing couplings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from reflow.flow.padding import ActionSpace, PaddingRule


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

    def given(self, count: Int[Tensor, "*b"], space: ActionSpace) -> "Coupling":
        """The first actions of each chunk given: both ends are the action there, and the path stands still.

        Args:
            count: how many, 0 to ``h``.
            space: where the padding of a given action begins.

        Returns:
            Of the same shapes. A given action's padding is zero at both ends, as :func:`give` writes it.
        """
        return Coupling(
            give(self.noise, self.action, count, space),
            give(self.action, self.action, count, space),
            self.inside,
        )


def give(
    noise: Float[Tensor, "*b h d"],
    action: Float[Tensor, "*b h n"],
    count: Int[Tensor, "*b"],
    space: ActionSpace,
) -> Float[Tensor, "*b h d"]:
    """Noise whose first time steps are actions that are known already.

    Their padding is zero, which no noise is: so a policy tells given actions from noise, and needs no further input
    (:mod:`reflow.objectives.given`).

    Args:
        noise: at native width.
        action: to be given; of its width the real dimensions are taken.
        count: time steps that are given, 0 to ``h``.
        space: where the padding begins.

    Returns:
        As the noise, which is not changed.
    """
    real = action[..., : space.action_dim]
    known = torch.cat([real, torch.zeros_like(noise[..., space.action_dim :])], -1)
    first = torch.arange(noise.shape[-2], device=noise.device) < count[..., None]
    return torch.where(first[..., None], known, noise)


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
