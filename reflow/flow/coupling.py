"""The coupling that reflow learns from: each noise with the teacher's endpoint of it.

Left out: where noise comes from (`reflow.flow.random`), and storing couplings.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow.padding import PaddingRule
from reflow.flow.solvers import Solver, Velocity, integrate


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


def carry(
    velocity: Velocity, randn: Float[Tensor, "*b h d"], num_steps: int, solver: Solver, rule: PaddingRule
) -> Float[Tensor, "*b h d"]:
    """Integrate the teacher's field from noise to its endpoint.

    Args:
        velocity: The teacher's field, at native width; its time has the leading dimensions ``*b``.
        randn: Standard normal draw at native width, ``[*b, h, d]``; not changed.
        num_steps: The teacher's step count, at least 1.
        solver: The teacher's solver.
        rule: Decides what of the draw the teacher starts from (``rule.teacher_noise``).

    Returns:
        The endpoints as they are, at native width; no graph is recorded.

    Raises:
        UserError: If ``randn`` is not at native width, or as `integrate`.
    """
    with torch.no_grad():
        return integrate(
            velocity, rule.teacher_noise(randn), num_steps, solver, time_dims=randn.ndim - 2
        ).endpoint


def couple(randn: Float[Tensor, "*b h d"], endpoint: Float[Tensor, "*b h d"], rule: PaddingRule) -> Coupling:
    """Join noise and endpoint into what a student learns from, each through the padding rule.

    Args:
        randn: Standard normal draw at native width; not changed.
        endpoint: Where the teacher's integration ends (`carry`), of the same shape.
        rule: Decides what of the draw the student starts from (``rule.noise``), and what of the endpoint is kept
            (``rule.target``).

    Returns:
        The student's noise, and the action to learn.

    Raises:
        UserError: If one of the two is not at native width.
    """
    return Coupling(noise=rule.noise(randn), action=rule.target(endpoint))
