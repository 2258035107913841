"""What every adapter gives: a policy as two functions, ``encode`` and ``velocity``.

A flow-matching policy spends its time in two places: looking (cameras, language, state) and walking
the velocity field. The looking is done once per observation (``encode``), the walking many times
(``velocity``), and the split is exact. Whatever differs between policies ends inside the adapter;
above it there is one convention, that of :mod:`reflow.flow.path`.

Legend of shapes: b batch, k draws per observation, h chunk step, d native width.
Left out: loading and saving (``reflow.policies.folder``), and anything about training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, get_args

from jaxtyping import Float
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from reflow.flow import ActionSpace, Velocity, integrate

Batch = dict[str, Any]
Tensors = dict[str, Tensor]

VISION, CONTEXT = "vision", "context"
"""Batch keys of what was computed before: vision features (:meth:`FlowPolicy.look`), a packed context
(:meth:`FlowPolicy.pack`)."""

VelocityBy = Literal["stock", "shared", "compiled"]
"""How velocities are computed: by LeRobot's own code, exactly; over one prefix for all draws, which rounds in another
order; the same through ``torch.compile``."""


class FlowPolicy[ContextT](nn.Module, ABC):
    """A LeRobot flow policy behind one interface.

    Attributes:
        policy: the LeRobot policy itself, the thing that is saved and deployed.
    """

    def __init__(self, policy: PreTrainedPolicy) -> None:
        super().__init__()
        self.policy = policy
        self._velocity_by: VelocityBy = "stock"

    @property
    def velocity_by(self) -> VelocityBy:
        """How velocities are computed; a policy starts with ``stock``."""
        return self._velocity_by

    @velocity_by.setter
    def velocity_by(self, value: VelocityBy) -> None:
        if value not in get_args(VelocityBy):
            raise ValueError(f"velocity={value}; allowed: {', '.join(get_args(VelocityBy))}")
        self._velocity_by = value

    @property
    def config(self) -> PreTrainedConfig:
        """LeRobot's own configuration of this policy."""
        return self.policy.config

    @property
    @abstractmethod
    def space(self) -> ActionSpace:
        """Real width, native width and chunk length of this policy's actions."""

    @property
    @abstractmethod
    def num_steps(self) -> int:
        """Integration steps of stock inference, whatever the configuration calls them."""

    @num_steps.setter
    @abstractmethod
    def num_steps(self, value: int) -> None: ...

    @abstractmethod
    def look(self, batch: Batch) -> Tensors:
        """Vision features alone, the dear part of :meth:`encode`: a function of the cameras and frozen weights.

        Args:
            batch: as for :meth:`encode`; only its cameras are read.

        Returns:
            Tensors ``[b, ...]``, to be put into a batch under ``VISION``.
        """

    @abstractmethod
    def encode(self, batch: Batch) -> ContextT:
        """Looks once: cameras, language and state become a context.

        Args:
            batch: a collated batch that went through the policy's own preprocessor. It is not changed. With
                ``CONTEXT`` in it nothing is computed, with ``VISION`` no camera is looked at.

        Returns:
            The encoded observations. It carries no gradient unless the prefix is trained.
        """

    @abstractmethod
    def pack(self, context: ContextT) -> Tensors:
        """A context as tensors ``[b, s, ...]``, to be stored or put into a batch under ``CONTEXT``.

        Dimension 1 counts prefix tokens; zeros appended along it change nothing, so contexts of different length can
        share one tensor.
        """

    @abstractmethod
    def unpack(self, tensors: Tensors) -> ContextT:
        """The context that :meth:`pack` packed; keys and values stored in 16 bits become float32."""

    @abstractmethod
    def velocity(
        self, context: ContextT, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """Velocity at ``x_t`` and time ``t``, in the convention of :mod:`reflow.flow.path`.

        The context is left as it was: any number of calls, with or without gradients, may share it.
        """

    def field(self, context: ContextT) -> Velocity:
        """The velocity field over one context, as the solvers ask for it."""
        return partial(self.velocity, context)

    def walk(
        self, context: ContextT, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """Where stock inference (Euler) ends from this noise; ``num_steps`` None is the policy's own."""
        steps = self.num_steps if num_steps is None else num_steps
        return integrate(self.field(context), noise, steps, time_dims=2).endpoint

    @abstractmethod
    def stock_velocity(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> tuple[Float[Tensor, "b h d"], Float[Tensor, "b h d"]]:
        """What LeRobot's own training forward asks its network, and what that answers: to check `velocity` by.

        Args:
            batch: as for :meth:`encode`, with ``action`` (normalised, real width). It is not changed.
            noise: at native width.
            t: one time per observation.

        Returns:
            ``x_t`` and ``v_t``, in the convention of :mod:`reflow.flow.path`.
        """

    @abstractmethod
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """Where LeRobot's own inference ends from this noise, before it cuts the padding: to check `walk` by.

        Args:
            batch: as for :meth:`encode`. It is not changed.
            noise: at native width; one per observation.
        """

    @abstractmethod
    def prefix_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Named parameters that only ``encode`` reads (vision, language, state projection)."""

    @abstractmethod
    def state_projection(self) -> nn.Module | None:
        """The module that brings the robot's state into the prefix, where the policy has one."""

    @abstractmethod
    def action_in_proj(self) -> nn.Linear:
        """The layer through which noisy actions enter: its last columns read the padding."""

    def prepare_for_distillation(self, *, train_state_proj: bool = False) -> None:
        """Freezes the whole prefix and opens the rest, whatever the policy's own flags say.

        Args:
            train_state_proj: leave the state projection open. The student then encodes for itself,
                with gradients through the text model.
        """
        prefix = {id(parameter) for _, parameter in self.prefix_parameters()}
        for parameter in self.parameters():
            parameter.requires_grad_(id(parameter) not in prefix)
        projection = self.state_projection()
        if train_state_proj and projection is None:
            raise ValueError(
                f"train_state_proj=True, but {type(self).__name__} has no state projection; "
                "set student.train_state_proj=false"
            )
        if projection is not None:
            projection.requires_grad_(train_state_proj)

    def encodes_with_gradient(self) -> bool:
        """Whether any parameter of the prefix is trained."""
        return any(parameter.requires_grad for _, parameter in self.prefix_parameters())

    def silence_padding(self) -> None:
        """Makes the padding inert: its input columns become zero and stay zero (``valid14``).

        Whatever noise inference feeds on the padding then reaches nothing: ``0 * noise`` adds an
        exact zero. The columns stay zero because their gradient is masked; weight decay and Adam's
        moments of a zero are zero.
        """
        weight = self.action_in_proj().weight
        keep = weight.new_zeros(weight.shape[1])
        keep[: self.space.action_dim] = 1.0
        weight.data.mul_(keep)
        weight.register_hook(lambda gradient: gradient * keep.to(gradient.device))
