"""What every adapter gives: a policy as two functions, ``encode`` and ``velocity``.

A flow-matching policy spends its time in two places: encoding the observation (cameras, language, state) and
integrating the velocity field. It encodes once per observation, asks for velocities many times, and the split is
exact. Whatever differs between policies ends inside the adapter: above it there is one convention, that of
:mod:`reflow.flow.path` (t = 1 noise, t = 0 action), whichever way the policy itself counts.

What only some policies can do is asked for by type: :mod:`reflow.policies.capabilities`.

Legend of shapes: b batch, k draws per observation, h chunk step, d native width, a real width.
Left out: loading and saving (``reflow.policies.folder``), and anything about training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from jaxtyping import Float, Int
from lerobot.configs import PreTrainedConfig
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor, nn

from reflow.flow import EULER, ActionSpace, Draws, Solver, Velocity, integrate

Batch = dict[str, Any]
Padding = Literal["free", "masked", "none"]


class FlowPolicy[ContextT](nn.Module, ABC):
    """A LeRobot flow policy behind one interface.

    Attributes:
        policy: the LeRobot policy itself, the thing that is saved and deployed.
    """

    velocity_way: ClassVar[str] = "stock"
    """How velocities are computed; ``stock`` is LeRobot's own code, exactly."""
    backbones: ClassVar[Mapping[str, str]] = {}
    """Fields of LeRobot's configuration that name a folder (or hub id) beside the weights: configuration, tokenizer.
    Each with the name of that folder inside a delivered policy."""
    wants_backbone_weights: ClassVar[bool] = False
    """Whether LeRobot's class wants a weights file in those folders, although every weight is in the policy's own."""
    steps_field: ClassVar[str] = "num_inference_steps"
    """What LeRobot's configuration calls the integration steps of inference."""
    normalizers: ClassVar[tuple[str, str] | None] = None
    """LeRobot's names of the processor steps that normalise observations, and actions back, where the policy has its
    own; None for LeRobot's two of all policies."""
    runtime: ClassVar[Mapping[str, Any]] = {}
    """Fields of LeRobot's configuration that say how a policy is run and not what it is, beside device and compiling:
    by the value that they have here. A delivered policy has its source's."""
    integrates: ClassVar[bool] = True
    """Whether LeRobot's inference integrates the velocity field, so that other solvers can be compared with it."""
    masks_padding: ClassVar[bool] = False
    """Whether LeRobot holds the padding at zero, in training and at every step of inference."""

    @classmethod
    def prepare(cls, config: PreTrainedConfig, folder: Path) -> None:
        """Last changes to a configuration, before LeRobot makes a policy of it for the weights of ``folder``.

        Raises:
            UserError: a setting with which the policy cannot be distilled; names it.
        """

    def __init__(self, policy: PreTrainedPolicy) -> None:
        super().__init__()
        self.policy = policy

    @property
    def config(self) -> PreTrainedConfig:
        """LeRobot's own configuration of this policy."""
        return self.policy.config

    @property
    def space(self) -> ActionSpace:
        """Real width, native width (the same, where nothing is padded) and chunk length of this policy's actions."""
        config: Any = self.policy.config
        return ActionSpace(config.action_feature.shape[0], config.max_action_dim, config.chunk_size)

    @property
    def padding(self) -> Padding:
        """What the padding of its actions is: ``free`` to be anything, ``masked`` to zero, or ``none`` at all."""
        if not self.space.padding_dim:
            return "none"
        return "masked" if self.masks_padding else "free"

    @property
    def num_steps(self) -> int:
        """Integration steps of stock inference, whatever the configuration calls them."""
        return getattr(self.step_holders()[0], self.steps_field)

    @num_steps.setter
    def num_steps(self, value: int) -> None:
        for holder in self.step_holders():
            setattr(holder, self.steps_field, value)

    def step_holders(self) -> Sequence[Any]:
        """What holds the number of steps, under :attr:`steps_field`; what inference reads comes first."""
        return (self.policy.config,)

    def take_steps(self, num_steps: int) -> None:
        """Makes this policy a student: stock inference will take so many equal Euler steps, as it is trained for.

        Raises:
            UserError: LeRobot's inference of this policy cannot be a student's of so many steps.
        """
        self.num_steps = num_steps

    @abstractmethod
    def encode(self, batch: Batch) -> ContextT:
        """Cameras, language and state become a context, once per observation.

        Args:
            batch: a collated batch that went through the policy's own preprocessor. It is not changed.

        Returns:
            The encoded observations. It carries no gradient unless parameters that it reads are trained.
        """

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

    @property
    def solver(self) -> Solver:
        """The solver of stock inference."""
        return EULER

    def walk(
        self, context: ContextT, noise: Float[Tensor, "b k h d"], num_steps: int | None = None
    ) -> Float[Tensor, "b k h d"]:
        """Where stock inference ends from this noise: its solver, in equal steps.

        A policy whose stock inference integrates over another grid gives its own.

        Args:
            context: the encoded observations.
            noise: at native width, as :meth:`base_noise` gives it.
            num_steps: None for the policy's own.
        """
        steps = self.num_steps if num_steps is None else num_steps
        return integrate(self.field(context), noise, steps, self.solver, time_dims=2).endpoint

    def end(
        self, context: ContextT, noise: Float[Tensor, "b k h d"], num_steps: int, solver: Solver
    ) -> Float[Tensor, "b k h d"]:
        """Where integration by a solver ends: stock inference, where that is the policy's own.

        Args:
            context: the encoded observations.
            noise: at native width.
            num_steps: equal steps.
            solver: of the integration.

        Raises:
            UserError: this policy knows no integration but LeRobot's.
        """
        if solver == self.solver:
            return self.walk(context, noise, num_steps)
        return integrate(self.field(context), noise, num_steps, solver, time_dims=2).endpoint

    def base_noise(self, randn: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h d"]:
        """The noise that inference starts from, as a function of standard normal noise.

        A policy that starts from another distribution maps it (uniform: twice the normal distribution function, less
        1), and one that masks its padding sets that to zero.
        """
        return randn

    def noise(
        self, draws: Draws, sample: Int[Tensor, " b"], draw: Int[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        """The base noise of these identities, on the host: a function of seed, sample and draw alone."""
        return self.base_noise(draws.noise(sample, draw, (self.space.chunk_size, self.space.max_action_dim)))

    def output(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h o"]:
        """What ``predict_action_chunk`` gives of an endpoint, and the postprocessor takes: its real dimensions."""
        return self.space.real(endpoint)

    def actions(self, endpoint: Float[Tensor, "*b h d"]) -> Float[Tensor, "*b h a"]:
        """What the robot gets of an endpoint, normalised: ``output`` less what a postprocessor has still to cut."""
        return self.output(endpoint)[..., : self.space.action_dim]

    def target(self, action: Float[Tensor, "*b h o"]) -> Float[Tensor, "*b h a"]:
        """Where the flow has to end for ``output`` to be ``action``, in real dimensions: the inverse of ``output``.

        Args:
            action: normalised, as the policy's preprocessor gives the data's. It is not changed.
        """
        return action[..., : self.space.action_dim]  # some preprocessors pad

    def stock_chunk(self, batch: Batch, noise: Float[Tensor, "b h d"]) -> Float[Tensor, "b h o"]:
        """The chunk that LeRobot's own ``predict_action_chunk`` gives from this noise, normalised.

        A policy whose ``predict_action_chunk`` takes no noise, or ignores it, lets it in another way.

        Args:
            batch: as for :meth:`encode`. It is not changed.
            noise: at native width, as :meth:`base_noise` gives it.
        """
        return self.policy.predict_action_chunk(dict(batch), noise=noise.clone())

    def rows(self, batch: Batch, size: int, count: int) -> Batch:
        """The first observations of a batch, as a batch.

        A policy whose batches hold tensors that are not one row per observation cuts those in its own way.

        Args:
            batch: of ``size`` observations; entries that are not one per observation stay as they are.
            size: of the batch.
            count: how many.
        """
        return {
            key: value[:count] if isinstance(value, (Tensor, list)) and len(value) == size else value
            for key, value in batch.items()
        }

    def train(self, mode: bool = True) -> Self:
        """Sets the adapter's own flag; LeRobot's policy stays in eval mode.

        Dropout, in whatever form, and random crops would make the student another function at every call, and
        distillation regresses one function.
        """
        super().train(mode)
        self.policy.eval()
        return self
