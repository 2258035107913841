"""The ways to run a policy on a robot's computer, each as four stages: preprocess, encode, integrate, postprocess.

``eager`` is LeRobot's own code as it is; ``compiled`` its two halves through ``torch.compile``; ``graphed`` the
same halves recorded once and replayed; ``onnx`` and ``int8`` onnxruntime. Left out: the clock
(:mod:`reflow.bundle.latency`) and their errors (:mod:`reflow.bundle.parity`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from reflow.bundle.graphs import FLOAT, INT8
from reflow.bundle.halves import PrefixHalf, VelocityHalf
from reflow.bundle.sessions import OnnxPolicy
from reflow.flow import integrate
from reflow.policies import Batch, FlowPolicy, load_processors
from reflow.speed.graphed import graphed

EAGER, COMPILED, GRAPHED, ONNX = "eager", "compiled", "graphed", "onnx"
WAYS = (EAGER, COMPILED, GRAPHED, ONNX, INT8)
Half = Callable[..., Any]


@dataclass(frozen=True)
class Way:
    """A way to run a policy.

    Attributes:
        name: one of :data:`WAYS`.
        preprocess: an observation to a batch.
        encode: a batch to a context.
        walk: context and noise ``[1, 1, h, d]`` to the endpoint, in the policy's own number of steps.
        postprocess: a chunk as ``output`` gives it to what the robot is told.
        device: where it runs.
        halves: of what the policy does that this way runs: both, or the velocity alone.
    """

    name: str
    preprocess: Callable[[dict[str, Any]], Batch]
    encode: Callable[[Batch], Any]
    walk: Callable[[Any, Tensor], Tensor]
    postprocess: Callable[[Tensor], Any]
    device: str
    halves: int = 2


def way_of(name: str, flow: FlowPolicy, folder: Path, example: dict[str, Any], device: str) -> Way:
    """One of the ways, ready to be asked.

    Args:
        name: one of :data:`WAYS`.
        flow: the policy, on the device.
        folder: the bundle, with graphs where one is run.
        example: an observation; compilers and recorders see its shapes.
        device: of the ways that torch runs; onnxruntime runs on the CPU.
    """
    if name in (ONNX, INT8):
        pre, post = full_length(folder, flow)
        session = OnnxPolicy(folder, flow, INT8 if name == INT8 else FLOAT)
        return Way(name, pre, session.encode, session.walk, post, "cpu", 2 if session.encodes else 1)
    pre, post = load_processors(folder, flow, device)
    if name == EAGER:
        return Way(name, pre, flow.encode, lambda context, noise: flow.walk(context, noise), post, device)
    with torch.inference_mode():
        batch = pre(dict(example))
        prefix = PrefixHalf(flow, batch).eval()
        context = flow.encode(batch)
        velocity = VelocityHalf(flow, context).eval()
        given = (_noise(flow, device), torch.ones(1, 1, device=device), *velocity.inputs(context))
        if name == COMPILED:
            halves: Sequence[Half] = (torch.compile(prefix), torch.compile(velocity))
        else:
            halves = (recorded(prefix, prefix.inputs(batch)), recorded(velocity, given))
    first, second = halves

    def walk(context: Sequence[Tensor], noise: Tensor) -> Tensor:
        return integrate(
            lambda x_t, t: second(x_t, t, *context), noise, flow.num_steps, flow.solver, time_dims=2
        ).endpoint

    return Way(name, pre, lambda batch: first(*prefix.inputs(batch)), walk, post, device)


def full_length(folder: Path, flow: FlowPolicy) -> tuple[Any, Any]:
    """A bundle's processors, words padded to the length that the policy was configured for: shapes are static.

    Args:
        folder: of the bundle.
        flow: its policy.
    """
    pre, post = load_processors(folder, flow)
    for step in pre.steps:
        if hasattr(step, "padding") and hasattr(step, "max_length"):
            step.padding = "max_length"
    return pre, post


def recorded(half: Half, given: Sequence[Tensor]) -> Half:
    """A CUDA graph of a half: recorded once on these tensors' shapes, then replayed on others' values.

    Args:
        half: a function of tensors on the GPU.
        given: to record it with.
    """
    inputs = [tensor.clone() for tensor in given]
    replay = graphed(lambda: half(*inputs))

    def play(*values: Tensor) -> Any:
        for place, value in zip(inputs, values, strict=True):
            place.copy_(value)
        outputs = replay()
        return outputs.clone() if isinstance(outputs, Tensor) else tuple(entry.clone() for entry in outputs)

    return play


def _noise(flow: FlowPolicy, device: str) -> Tensor:
    space = flow.space
    return torch.zeros(1, 1, space.chunk_size, space.max_action_dim, device=device)
