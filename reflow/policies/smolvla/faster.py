"""SmolVLA with faster velocities: one prefix for all draws (:mod:`reflow.policies.smolvla.expert`), compiled or not.

Equal to LeRobot's own velocity but for the order of rounding.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.flow import Velocity
from reflow.policies.smolvla import expert
from reflow.policies.smolvla.context import SmolVLAContext
from reflow.policies.smolvla.flow import SmolVLAFlow


class SharedVelocity(SmolVLAFlow):
    """The prefix is projected once, and all draws attend to it."""

    velocity_way = "shared"

    def field(self, context: SmolVLAContext) -> Velocity:
        model, ask = self.policy.model, self._ask()
        prefix = expert.project(model.vlm_with_expert, context.pad_masks, context.layers)
        return lambda x_t, t: ask(model, prefix, x_t, t).to(x_t.dtype)

    def velocity(
        self, context: SmolVLAContext, x_t: Float[Tensor, "b k h d"], t: Float[Tensor, "b k"]
    ) -> Float[Tensor, "b k h d"]:
        return self.field(context)(x_t, t)

    def _ask(self) -> Callable[..., Tensor]:
        return expert.velocity


class CompiledVelocity(SharedVelocity):
    """The same through ``torch.compile``: minutes before the first answer, faster ones after."""

    velocity_way = "compiled"

    def _ask(self) -> Callable[..., Tensor]:
        return _compiled()


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    return torch.compile(expert.velocity)


SmolVLAFlow.velocity_ways = {way.velocity_way: way for way in (SmolVLAFlow, SharedVelocity, CompiledVelocity)}
