"""Padding: which native action dimensions carry noise, keep the teacher's target, enter the loss.

A flow policy works on ``max_action_dim`` dimensions, a robot has ``action_dim`` of them; the rest is padding.
`ActionSpace` knows where the border runs, and is the only place that slices there. `PaddingRule` answers the
three questions, each with ``real`` or ``full``.

Left out: padded time steps (``action_is_pad``), which are another axis, and the weights of a policy (an inert
padding is made so by the policy's adapter, which holds its input columns at zero).
"""

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.errors import UserError

Extent = Literal["real", "full"]
"""``real``: the robot's own dimensions only. ``full``: all native dimensions, padding included."""


@dataclass(frozen=True)
class ActionSpace:
    """The sizes of an action chunk, and the border between real and padding dimensions.

    Attributes:
        action_dim: Real width ``a``: dimensions of the robot, at least 1.
        max_action_dim: Native width ``d``: dimensions the policy works on, at least ``action_dim``.
        chunk_size: Steps ``h`` of a chunk, at least 1.

    Raises:
        UserError: If a size is below 1, or the real width exceeds the native one.
    """

    action_dim: int
    max_action_dim: int
    chunk_size: int

    def __post_init__(self) -> None:
        for field in ("action_dim", "max_action_dim", "chunk_size"):
            value = getattr(self, field)
            if value < 1:
                raise UserError(
                    f"{field} is {value}; allowed: 1 or more; read it off the policy's configuration"
                )
        if self.action_dim > self.max_action_dim:
            raise UserError(
                f"action_dim {self.action_dim} exceeds max_action_dim {self.max_action_dim} of this policy; "
                f"allowed: 1 to {self.max_action_dim}; check that the data set and the policy belong together"
            )

    @property
    def padding_dim(self) -> int:
        """Number of padding dimensions, ``d - a``."""
        return self.max_action_dim - self.action_dim

    def real(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b a"]:
        """Take the robot's own dimensions.

        Args:
            x: Anything at native width, ``[..., d]``.

        Returns:
            A view of the real dimensions, ``[..., a]``.

        Raises:
            UserError: If ``x`` is not at native width.
        """
        self._check_width(x)
        return x[..., : self.action_dim]

    def padding(self, x: Float[Tensor, "*b d"]) -> Float[Tensor, "*b p"]:
        """Take the padding dimensions.

        Args:
            x: Anything at native width, ``[..., d]``.

        Returns:
            A view of the padding dimensions, ``[..., d - a]``; of width 0 where there are none.

        Raises:
            UserError: If ``x`` is not at native width.
        """
        self._check_width(x)
        return x[..., self.action_dim :]

    def _check_width(self, x: Tensor) -> None:
        if x.ndim == 0 or x.shape[-1] != self.max_action_dim:
            raise UserError(
                f"x has shape {tuple(x.shape)}; allowed: last dimension {self.max_action_dim} "
                "(max_action_dim); bring it to native width first: everything between encoding and the robot "
                "is native"
            )


@dataclass(frozen=True)
class PaddingRule:
    """Three answers about padding, the subject of every experiment in this project.

    Attributes:
        space: The action space.
        noise_dims: Which carry noise. ``real`` starts padding from zero; stock inference is ``full``.
        target_dims: Which keep the teacher's endpoint. ``real`` replaces its padding by zero.
        loss_dims: Which enter the loss. ``real`` leaves the padding velocity without a training signal.

    Raises:
        UserError: If an answer is neither ``real`` nor ``full``.

    Example:
        >>> rule = PaddingRule(ActionSpace(action_dim=2, max_action_dim=3, chunk_size=1), target_dims="full")
        >>> x = torch.tensor([[1.0, 2.0, 3.0]])
        >>> rule.noise(x).tolist(), rule.target(x).tolist(), rule.loss(x).tolist()
        ([[1.0, 2.0, 0.0]], [[1.0, 2.0, 3.0]], [[1.0, 2.0]])
    """

    space: ActionSpace
    noise_dims: Extent = "real"
    target_dims: Extent = "real"
    loss_dims: Extent = "real"
    inert: bool = False

    def __post_init__(self) -> None:
        for field in ("noise_dims", "target_dims", "loss_dims"):
            value = getattr(self, field)
            if value not in get_args(Extent):
                raise UserError(
                    f"{field} is {value!r}; allowed: 'real' (the robot's own dimensions) or "
                    "'full' (padding too); pick one of the two"
                )

    def noise(self, randn: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Turn a full-width draw into the noise of this rule.

        The draw always has native width, so the real dimensions are the same under either answer.

        Args:
            randn: Standard normal numbers, ``[..., d]``; not changed.

        Returns:
            The draw, its padding set to zero under ``real``.

        Raises:
            UserError: If ``randn`` is not at native width.
        """
        return self._extend(randn, self.noise_dims)

    def teacher_noise(self, randn: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Turn a full-width draw into the noise the teacher starts from: `noise`, or the draw if ``inert``.

        Args:
            randn: Standard normal numbers, ``[..., d]``; not changed.

        Returns:
            The teacher's noise; its real dimensions are those of `noise`.

        Raises:
            UserError: If ``randn`` is not at native width.
        """
        return self._extend(randn, "full" if self.inert else self.noise_dims)

    def target(self, action: Float[Tensor, "*b d"]) -> Float[Tensor, "*b d"]:
        """Turn the teacher's endpoint into the action the student is trained towards.

        Args:
            action: The teacher's endpoint, ``[..., d]``; not changed.

        Returns:
            The endpoint, its padding set to zero under ``real``.

        Raises:
            UserError: If ``action`` is not at native width.
        """
        return self._extend(action, self.target_dims)

    def loss(self, error: Float[Tensor, "*b d"]) -> Float[Tensor, "*b n"]:
        """Keep the dimensions of an elementwise error that count.

        Args:
            error: One number per native dimension, ``[..., d]``; not changed.

        Returns:
            ``[..., a]`` under ``real``, ``[..., d]`` under ``full``.

        Raises:
            UserError: If ``error`` is not at native width.
        """
        real = self.space.real(error)
        return error if self.loss_dims == "full" else real

    def _extend(self, x: Tensor, extent: Extent) -> Tensor:
        real, padding = self.space.real(x), self.space.padding(x)
        # Joined rather than multiplied by a mask: 0 * inf is nan, and padding may hold anything.
        return x if extent == "full" else torch.cat([real, torch.zeros_like(padding)], dim=-1)
