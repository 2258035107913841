"""A bundle's ONNX graphs, run by onnxruntime: ``encode`` and ``walk`` as a policy has them, of arrays.

Where a bundle has no graph of its prefix, the policy itself encodes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reflow.bundle.graphs import DESCRIPTION, FLOAT, FOLDER, PREFIX, VELOCITY, file_of
from reflow.bundle.halves import PrefixHalf, VelocityHalf
from reflow.files import read_object
from reflow.flow import integrate
from reflow.policies import Batch, FlowPolicy

Arrays = dict[str, np.ndarray]


class OnnxPolicy:
    """One observation at a time, by onnxruntime on the CPU.

    Args:
        folder: of the bundle.
        flow: the policy that it was made of: says how a batch becomes arrays, and encodes where no graph does.
        kind: of the graphs, ``float32`` or ``int8``.

    Attributes:
        num_steps: integration steps that it was exported for.
        encodes: whether the prefix is a graph, too.
    """

    def __init__(self, folder: Path, flow: FlowPolicy, kind: str = FLOAT) -> None:
        place = folder / FOLDER
        self.num_steps: int = read_object(place / DESCRIPTION)["num_steps"]
        self._flow = flow
        self.encodes = (place / file_of(PREFIX, kind)).is_file()
        self._velocity = _session(place / file_of(VELOCITY, kind))
        self._prefix = _session(place / file_of(PREFIX, kind)) if self.encodes else None

    def encode(self, batch: Batch) -> Arrays:
        """The context of one observation, as arrays by name."""
        if self._prefix is None:
            context = self._flow.encode(batch)
            half = VelocityHalf(self._flow, context)
            return _arrays(half.names, half.inputs(context))
        prefix = PrefixHalf(self._flow, batch)
        return self._prefix(_arrays(prefix.names, prefix.inputs(batch)))

    def velocity(self, context: Arrays, x_t: Float[Tensor, "1 1 h d"], t: Float[Tensor, "1 1"]) -> Tensor:
        """The velocity ``[1, 1, h, d]`` at one noise and time."""
        (v_t,) = self._velocity({**context, "x_t": x_t.numpy(), "t": t.numpy()}).values()
        return torch.from_numpy(v_t)

    def walk(self, context: Arrays, noise: Float[Tensor, "1 1 h d"]) -> Float[Tensor, "1 1 h d"]:
        """Where the policy's solver ends from this noise, in as many equal steps as it was exported for."""
        field = partial(self.velocity, context)
        return integrate(field, noise, self.num_steps, self._flow.solver, time_dims=2).endpoint


def _arrays(names: list[str], tensors: tuple[Tensor, ...]) -> Arrays:
    return {name: tensor.cpu().numpy() for name, tensor in zip(names, tensors, strict=True)}


def _session(path: Path) -> Callable[[Arrays], Arrays]:
    import onnxruntime  # an extra: reflow[onnx]

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3  # errors
    session: Any = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    takes, gives = (
        [entry.name for entry in entries()] for entries in (session.get_inputs, session.get_outputs)
    )

    def run(given: Arrays) -> Arrays:
        found = session.run(gives, {name: given[name] for name in takes})
        return dict(zip(gives, found, strict=True))

    return run
