"""Straightness: how far the velocities along a trajectory are from the straight line between its ends.

Left out: the trajectory. The caller integrates and keeps the velocities.
"""

from typing import Any

from jaxtyping import Float, Float64
from torch import Tensor

from reflow.errors import UserError
from reflow.flow.padding import ActionSpace, PaddingRule
from reflow.metrics.shapes import check_chunks
from reflow.metrics.sums import ChunkMetric


def _straightness_update(
    velocities: Float[Tensor, "n *chunks h d"],
    noise: Float[Tensor, "*chunks h d"],
    action: Float[Tensor, "*chunks h d"],
    space: ActionSpace,
) -> tuple[Float64[Tensor, " d"], Float64[Tensor, " d"]]:
    """Sums of squares, for every native dimension, of deviation (averaged over time) and of line."""
    check_chunks(noise=noise, action=action)
    if velocities.ndim == 0 or velocities.shape[0] == 0 or velocities.shape[1:] != noise.shape:
        allowed = ", ".join(map(str, ("n", *noise.shape)))
        raise UserError(
            f"velocities has shape {tuple(velocities.shape)}; allowed: ({allowed}) with n at least 1; "
            "stack the velocities of equal steps in front of the shape of noise"
        )
    line = noise.double() - action.double()
    deviation = line - velocities.double()
    return _sum_of_squares(deviation, space) / velocities.shape[0], _sum_of_squares(line, space)


def _sum_of_squares(x: Float64[Tensor, "*chunks h d"], space: ActionSpace) -> Float64[Tensor, " d"]:
    return PaddingRule(space, loss_dims="full").loss(x.square()).flatten(0, -2).sum(0)


def _straightness_compute(
    deviation: Float64[Tensor, " d"], line: Float64[Tensor, " d"], space: ActionSpace
) -> dict[str, Float64[Tensor, ""]]:
    parts = {"all": lambda x: x, "real": space.real}
    if space.padding_dim:
        parts["padding"] = space.padding
    return {name: part(deviation).sum() / part(line).sum() for name, part in parts.items()}


class _StraightnessSums(ChunkMetric):
    """The sums that both metrics below keep, one for every native dimension."""

    higher_is_better = False

    deviation: Tensor
    line: Tensor

    def __init__(self, space: ActionSpace, **kwargs: Any) -> None:
        super().__init__(space, **kwargs)
        self._add_state("deviation", space.max_action_dim)
        self._add_state("line", space.max_action_dim)

    def update(
        self,
        velocities: Float[Tensor, "n *chunks h d"],
        noise: Float[Tensor, "*chunks h d"],
        action: Float[Tensor, "*chunks h d"],
    ) -> None:
        """Add chunks.

        Args:
            velocities: Velocity of each of ``n`` equal steps, ``[n, *chunks, h, d]``.
            noise: Where the trajectory starts (t = 1), ``[*chunks, h, d]``.
            action: Where the same trajectory ends (t = 0), same shape.

        Raises:
            UserError: If the shapes do not fit or are not at native width.
        """
        deviation, line = _straightness_update(velocities, noise, action, self.space)
        self.deviation += deviation
        self.line += line


class Straightness(_StraightnessSums):
    """Time average of ``E||(noise - action) - v_t||^2`` along a trajectory, over ``E||noise - action||^2``.

    The measure S of Liu et al. 2022, "Flow Straight and Fast", made free of scale. It is 0 where one step is
    as good as many. ``action`` is the end of that same trajectory: for a student, its own endpoint, not the
    teacher's.

    Args:
        space: Knows which dimensions are real.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> straightness = Straightness(ActionSpace(action_dim=1, max_action_dim=1, chunk_size=1))
        >>> velocities = torch.tensor([0.0, 2.0]).reshape(2, 1, 1, 1)  # waits, then runs: it moves by 1
        >>> straightness.update(velocities, noise=torch.ones(1, 1, 1), action=torch.zeros(1, 1, 1))
        >>> straightness.compute()["all"]
        tensor(1., dtype=torch.float64)
    """

    def compute(self) -> dict[str, Float64[Tensor, ""]]:
        """Return ``all``, ``real`` and, if the space has padding, ``padding``; nan before the first chunk."""
        return _straightness_compute(self.deviation, self.line, self.space)


class StraightnessByDimension(_StraightnessSums):
    """Straightness of every native dimension by itself; see `Straightness`.

    Args:
        space: Knows the native width.
        **kwargs: For `torchmetrics.Metric`.

    Example:
        >>> import torch
        >>> straightness = StraightnessByDimension(ActionSpace(action_dim=1, max_action_dim=2, chunk_size=1))
        >>> velocities = torch.tensor([[0.0, 1.0], [2.0, 1.0]]).reshape(2, 1, 1, 2)  # one waits, one flows
        >>> straightness.update(velocities, noise=torch.ones(1, 1, 2), action=torch.zeros(1, 1, 2))
        >>> straightness.compute()
        tensor([1., 0.], dtype=torch.float64)
    """

    def compute(self) -> Float64[Tensor, " d"]:
        """Return one figure per native dimension, ``[d]``; nan where a dimension did not move at all."""
        return self.deviation / self.line
