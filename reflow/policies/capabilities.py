"""What some policies can do beside the core, each asked for by type: ``isinstance(policy, StorablePrefix)``.

An adapter inherits what it can do. Whoever needs one of these and meets a policy without it says so, by name.
"""

from __future__ import annotations

import contextlib
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.flow import ActionSpace
from reflow.policies.base import Batch, FlowPolicy

Tensors = dict[str, Tensor]

VISION, CONTEXT = "vision", "context"
"""Batch keys of what was computed before: :meth:`StorablePrefix.vision_features`, :meth:`StorablePrefix.pack`."""

VELOCITY = "velocity"
"""Name of the parameter group that ``velocity`` reads and ``encode`` does not have to itself."""


class StorablePrefix[ContextT](ABC):
    """Encoded observations can be stored, and put back into a batch.

    With ``CONTEXT`` in a batch its ``encode`` computes nothing; with ``VISION`` it reads no camera.
    """

    vision_groups: ClassVar[tuple[str, ...]] = ()
    """Parameter groups that the vision features are a function of."""

    @abstractmethod
    def vision_features(self, batch: Batch) -> Tensors:
        """The expensive part of ``encode``: a function of the cameras and frozen weights.

        Args:
            batch: as for ``encode``; only its cameras are read.

        Returns:
            Tensors ``[b, ...]``.
        """

    @abstractmethod
    def pack(self, context: ContextT) -> Tensors:
        """A context as tensors ``[b, s, ...]``.

        Dimension 1 counts prefix tokens; zeros appended along it change nothing, so contexts of different length can
        share one tensor.
        """

    @abstractmethod
    def unpack(self, tensors: Tensors) -> ContextT:
        """The context that :meth:`pack` packed; keys and values stored in 16 bits become float32."""


class FreezablePrefix(ABC):
    """Some parameters are read by ``encode`` alone: while they are frozen, teacher and student share one encoding."""

    prefixes: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """How the names of those parameters begin, by group; a name is of the first group that fits."""
    named_parameters: Callable[..., Iterator[tuple[str, nn.Parameter]]]

    def prefix_groups(self) -> Mapping[str, list[str]]:
        """Names of those parameters, in named groups that may be trained on request; each in one group."""
        return self._prefix_groups

    @functools.cached_property
    def _prefix_groups(self) -> Mapping[str, list[str]]:  # asked at every step, and always the same
        groups: dict[str, list[str]] = {}
        rest = [name for name, _ in self.named_parameters()]
        for group, begins in self.prefixes.items():
            groups[group] = [name for name in rest if name.startswith(begins)]
            rest = [name for name in rest if not name.startswith(begins)]
        return {group: names for group, names in groups.items() if names}


class ActionBias(ABC):
    """Noisy actions enter through a layer with a bias: what all tokens of a chunk are to be given can go there."""

    @abstractmethod
    def action_bias(self) -> tuple[nn.Module, nn.Parameter]:
        """The layer, whose output is ``[b, k, h, w]`` or has the first of these as one, and its bias ``[..., w]``."""


class PaddingInputs(ABC):
    """Noisy actions enter through weights of their own per dimension, so that the padding's can be taken away."""

    @property
    @abstractmethod
    def space(self) -> ActionSpace:
        """As :attr:`FlowPolicy.space`."""

    @abstractmethod
    def action_inputs(self) -> Sequence[nn.Parameter]:
        """Those weights; dimension 1 of each counts native action dimensions."""

    def silence_padding(self) -> None:
        """Makes the padding inert: its input columns become zero and stay zero (``valid14``).

        Whatever noise inference feeds on the padding then reaches nothing: ``0 * noise`` adds an exact zero. The
        columns stay zero because their gradient is masked; weight decay and Adam's moments of a zero are zero.
        """
        for weight in self.action_inputs():
            keep = weight.new_zeros(weight.shape[1], *[1] * (weight.ndim - 2))
            keep[: self.space.action_dim] = 1.0
            weight.data.mul_(keep)
            weight.register_hook(lambda gradient, keep=keep: gradient * keep.to(gradient.device))


@dataclass(frozen=True)
class StockForward:
    """What LeRobot's own training forward did.

    Attributes:
        x_t: what it asked its network, in the convention of :mod:`reflow.flow.path`.
        v_t: what that answered, in the same convention.
        loss: what it gave back, with gradients where they are on.
    """

    x_t: Float[Tensor, "b h d"]
    v_t: Float[Tensor, "b h d"]
    loss: Float[Tensor, ""]


class StockCheck(ABC):
    """LeRobot's own training and inference can be asked, to check ``velocity`` and ``walk`` by."""

    @abstractmethod
    def stock_forward(
        self, batch: Batch, noise: Float[Tensor, "b h d"], t: Float[Tensor, " b"]
    ) -> StockForward:
        """LeRobot's own training forward, on this noise and at these times in the place of those it would draw.

        Args:
            batch: as for ``encode``, with ``action`` (normalised, as the preprocessor gives it). It is not changed.
            noise: at native width, as ``base_noise`` gives it.
            t: one time per observation, in the convention of :mod:`reflow.flow.path`.
        """

    @abstractmethod
    def stock_endpoint(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h d"]:
        """Where LeRobot's own inference ends from this noise, before it cuts the padding.

        Args:
            batch: as for ``encode``. It is not changed.
            noise: at native width; one per observation.
        """

    @abstractmethod
    def counted(self) -> nn.Module:
        """A module that LeRobot's inference runs once per velocity, and otherwise never."""


@contextlib.contextmanager
def velocity_calls(flow: FlowPolicy) -> Iterator[list[None]]:
    """A list with an entry per velocity that LeRobot's inference asks for; empty but for a :class:`StockCheck`."""
    calls: list[None] = []
    if not isinstance(flow, StockCheck):
        yield calls
        return
    hook = flow.counted().register_forward_hook(lambda *_: calls.append(None))
    try:
        yield calls
    finally:
        hook.remove()


class StockTraining(StockCheck):
    """LeRobot's own training loss can be asked, with gradients: what a benchmark holds ours against."""

    stock_groups: ClassVar[tuple[str, ...]]
    """Parameter groups that LeRobot trains by default."""

    @abstractmethod
    def stock_losses(
        self,
        batch: Batch,
        action: Float[Tensor, "b h d"],
        noise: Float[Tensor, "b h d"],
        t: Float[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b h d"]:
        """LeRobot's training forward before any mean: it encodes by itself, and draws the times where t is None."""

    @abstractmethod
    def stock_prefix(self) -> tuple[object, str]:
        """Object and method by which LeRobot embeds the prefix, for a stopwatch."""


class VelocityWays(ABC):
    """Velocities can be computed in several ways, each by an adapter around the same LeRobot policy."""

    velocity_ways: ClassVar[Mapping[str, type[FlowPolicy[Any]]]]
    """By name, ``stock`` among them: LeRobot's own code. Others round in another order."""
    training_way: ClassVar[str]
    """The one that training takes where nothing else is said."""


def velocity_ways(flow: FlowPolicy) -> Mapping[str, type[FlowPolicy[Any]]]:
    """The ways in which this policy's velocities can be computed: at least its own."""
    return flow.velocity_ways if isinstance(flow, VelocityWays) else {flow.velocity_way: type(flow)}


def with_velocity(flow: FlowPolicy, way: str | None) -> FlowPolicy:
    """The same policy, its velocities computed this way; parameters and modules are the very same objects.

    Args:
        flow: the policy.
        way: its name; None for the one that suits training.

    Raises:
        UserError: this policy has no such way.
    """
    ways = velocity_ways(flow)
    if way is None:
        way = flow.training_way if isinstance(flow, VelocityWays) else flow.velocity_way
    if way not in ways:
        raise UserError(f"velocity={way}; allowed for a policy of type {flow.config.type}: {', '.join(ways)}")
    if type(flow) is ways[way]:
        return flow
    other = ways[way](flow.policy)
    other.training = flow.training
    return other
