"""A policy's halves as ONNX graphs: static shapes, batch 1, float32; and beside them as int8.

``onnx/prefix.onnx`` takes an observation as the policy's preprocessor leaves it, words padded to their full length,
and gives the context; ``onnx/velocity.onnx`` takes ``x_t``, ``t`` and that context, and gives the velocity.
Integration is a loop of a few lines around it. ``onnx/onnx.json`` says how both are fed. Left out: running them
(:mod:`reflow.bundle.sessions`).
"""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from reflow.bundle.halves import PrefixHalf, VelocityHalf
from reflow.errors import NotInstalledError, UserError
from reflow.files import write_json
from reflow.notices import warn
from reflow.policies import Batch, FlowPolicy
from reflow.quiet import unprinted

FOLDER, DESCRIPTION = "onnx", "onnx.json"
PREFIX, VELOCITY = "prefix", "velocity"
FLOAT, INT8 = "float32", "int8"
_NEEDED = ("onnx", "onnxruntime", "onnxscript")
_CHUNK = ("x_t", "t")


def file_of(half: str, kind: str = FLOAT) -> str:
    """The name of a graph's file."""
    return f"{half}.onnx" if kind == FLOAT else f"{half}_{kind}.onnx"


def check_installed(asked: str) -> None:
    """Refuses where a package is missing.

    Args:
        asked: what the user said (``onnx=true``).

    Raises:
        NotInstalledError: names it, and the extra.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise NotInstalledError(
            f"{asked} needs {', '.join(missing)}, not installed: pip install 'reflow[onnx]'"
        )


def write_graphs(flow: FlowPolicy, batch: Batch, folder: Path) -> None:
    """Writes both graphs, and what they take.

    A prefix that cannot be one graph is left out, and that is said: then ``encode`` stays torch's.

    Args:
        flow: the policy, on the CPU, in float32.
        batch: one observation, preprocessed, its words padded to their full length.
        folder: of the bundle; what it has of ``onnx/`` is replaced.

    Raises:
        UserError: the velocity cannot be a graph; says why.
    """
    place = folder / FOLDER
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    space = flow.space
    with torch.no_grad():
        prefix = PrefixHalf(flow, batch)
        velocity = VelocityHalf(flow, flow.encode(batch))
        context = velocity.inputs(flow.encode(batch))
        noise = torch.zeros(1, 1, space.chunk_size, space.max_action_dim)
        given = (noise, torch.ones(1, 1), *context)
        names = (*_CHUNK, *velocity.names)
        try:
            velocity_reads = _export(velocity, given, names, ("v_t",), place / file_of(VELOCITY))
        except Exception as error:  # whatever torch and ONNX stumble over in a policy's code
            raise UserError(
                f"onnx=true: the velocity of a policy of type {flow.config.type} is no graph of ONNX: {_why(error)}"
            ) from error
        prefix_reads = None
        try:
            if _reads_words(flow, batch):
                raise NotImplementedError("it takes the task as text, and cuts it into tokens itself")
            given = prefix.inputs(batch)
            prefix_reads = _export(prefix, given, prefix.names, velocity.names, place / file_of(PREFIX))
        except Exception as error:
            (place / file_of(PREFIX)).unlink(missing_ok=True)
            warn(
                f"onnx=true: the prefix of a policy of type {flow.config.type} is no graph of ONNX, and stays "
                f"torch's; its velocity is one. The reason: {_why(error)}"
            )
    write_json(
        place / DESCRIPTION,
        {
            "num_steps": flow.num_steps,
            "solver": flow.solver.name,
            "chunk": list(noise.shape),
            "action_dim": space.action_dim,
            PREFIX: prefix_reads,
            VELOCITY: velocity_reads,
        },
    )


def quantize(folder: Path) -> None:
    """Writes int8 graphs beside those of float32: weights of matrix products per column, activations as they come.

    Args:
        folder: of the bundle, with its graphs.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    place = folder / FOLDER
    for half in (PREFIX, VELOCITY):
        if not (place / file_of(half)).is_file():
            continue
        with tempfile.TemporaryDirectory(dir=folder) as scratch, _silence():
            ready = Path(scratch, "ready.onnx")
            quant_pre_process(
                place / file_of(half), ready, skip_symbolic_shape=True, save_as_external_data=False
            )
            quantize_dynamic(
                ready,
                place / file_of(half, INT8),
                op_types_to_quantize=["MatMul", "Gemm"],  # convolutions in int8 are slower than in float32
                per_channel=True,
                weight_type=QuantType.QInt8,
            )


def _export(
    half: nn.Module, given: Sequence[Tensor], names: Sequence[str], gives: Sequence[str], path: Path
) -> dict[str, dict[str, Any]]:
    """Writes the graph of a half; gives what it reads, by name."""
    with _silence():
        program = torch.onnx.export(
            half.eval(),
            tuple(given),
            input_names=list(names),
            output_names=list(gives),
            dynamo=True,
            verbose=False,
        )
    assert program is not None  # what dynamo=True gives
    graph = program.model.graph
    for value in [value for value in graph.inputs if not value.uses() and not value.is_graph_output()]:
        graph.inputs.remove(value)  # an entry of the batch that the policy does not read
    program.save(path)
    read = {value.name for value in graph.inputs}
    return {
        name: {"shape": list(tensor.shape), "dtype": str(tensor.dtype).removeprefix("torch.")}
        for name, tensor in zip(names, given, strict=True)
        if name in read
    }


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with unprinted(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def _reads_words(flow: FlowPolicy, batch: Batch) -> bool:
    """Whether other words in the same batch would be another observation: then they are no tensors in it."""
    texts = {key: value for key, value in batch.items() if _is_text(value)}
    if not texts:
        return False
    other = {key: [f"{text} 1, and then do something else" for text in value] for key, value in texts.items()}
    try:
        one, two = (PrefixHalf(flow, {**batch, **words})(*_inputs(flow, batch)) for words in (texts, other))
    except RuntimeError:  # more tokens than there were
        return True
    return any(a.shape != b.shape or not torch.equal(a, b) for a, b in zip(one, two, strict=True))


def _inputs(flow: FlowPolicy, batch: Batch) -> tuple[Tensor, ...]:
    return PrefixHalf(flow, batch).inputs(batch)


def _is_text(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, str) for entry in value)


def _why(error: BaseException) -> str:
    """The first line of what went wrong at the bottom, without colours and advice for torch's developers."""
    while error.__cause__ is not None:
        error = error.__cause__
    first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"{type(error).__name__}: {first.strip()[:200]}"
