"""A second time, a further input of the student's velocity: how far a step goes. Folded into a bias at delivery.

Shortcut models, mean flows and their kin ask a network for the mean velocity over a *span* of time, from t down to
t - span, rather than the velocity at t. Deployed, an n-step student only ever takes steps of 1/n: the span is a
constant then, and what it adds to a layer is a constant vector, which the layer's bias takes up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reflow.errors import UserError
from reflow.policies import ActionBias, FlowPolicy

_NAME = "span"


class SpanEmbedding(nn.Module):
    """A span in [0, 1] as a vector that is added where noisy actions enter; zero at first.

    Args:
        width: of the vector.
        frequencies: of the sines and cosines that the span is read through: 1, 2, 4, ... half periods.
    """

    def __init__(self, width: int, frequencies: int = 6) -> None:
        super().__init__()
        self.frequencies = frequencies
        self.layers = nn.Sequential(nn.Linear(2 * frequencies + 1, width), nn.SiLU(), nn.Linear(width, width))
        self.silence()
        self.now: Float[Tensor, "b k"] | None = None

    def silence(self) -> None:
        """Makes the vector of every span zero."""
        with torch.no_grad():
            for parameter in self.layers[-1].parameters():
                parameter.zero_()

    def forward(self, span: Float[Tensor, "*b"]) -> Float[Tensor, "*b w"]:
        """The vector of each span."""
        rates = math.pi * 2.0 ** torch.arange(self.frequencies, device=span.device)
        angle = span[..., None] * rates
        return cast(Tensor, self.layers(torch.cat([span[..., None], angle.sin(), angle.cos()], -1)))


def add_span(student: FlowPolicy) -> None:
    """Gives a student the further input. Asked without one, it answers as it will be deployed.

    Raises:
        UserError: the policy has no layer whose bias could take it up, or that bias is frozen.
    """
    if not isinstance(student, ActionBias):
        raise UserError(
            f"this objective needs a second time, but a policy of type {student.config.type} names no layer whose "
            "bias could take it up; choose another objective (objective=endpoint)"
        )
    layer, bias = student.action_bias()
    if not bias.requires_grad:
        raise UserError(
            "this objective needs the velocity's own layers trained, and the first of them is frozen; "
            "student.trained must contain velocity"
        )
    device = bias.device
    student.add_module(_NAME, SpanEmbedding(bias.shape[-1]).to(device))
    layer.register_forward_hook(partial(_add, student))


@contextmanager
def asked_for(student: FlowPolicy, span: Float[Tensor, "b k"]) -> Iterator[FlowPolicy]:
    """In here the student's velocities are mean velocities over these spans.

    Args:
        student: with the further input.
        span: of each draw, 0 to 1; 0 is the velocity at t itself.
    """
    embedding: Any = student.get_submodule(_NAME)
    embedding.now = span
    try:
        yield student
    finally:
        embedding.now = None


def fold_span(student: FlowPolicy) -> None:
    """Writes what a deployed step adds into the layer's bias; the student's velocity stays the same."""
    assert isinstance(student, ActionBias)  # or add_span would have refused it
    embedding: Any = student.get_submodule(_NAME)
    _, bias = student.action_bias()
    with torch.no_grad():
        bias.add_(embedding(_deployed(student)))
    embedding.silence()


def _deployed(student: FlowPolicy) -> Float[Tensor, ""]:
    device = next(student.parameters()).device
    return torch.full((), 1.0 / student.num_steps, device=device)  # a number of the host would be waited for


def _add(student: Any, layer: nn.Module, inputs: Any, output: Float[Tensor, "*bkh w"]) -> Tensor:
    embedding = student.get_submodule(_NAME)
    if embedding.now is None:
        return output + embedding(_deployed(student)).to(output.dtype)
    added = embedding(embedding.now).to(output.dtype)
    tokens = output.numel() // added.numel()  # of a chunk; a policy may have b, k and h as one dimension
    return output + added[:, :, None].expand(-1, -1, tokens, -1).reshape(output.shape)
