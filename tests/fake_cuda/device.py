"""A GPU that is not there: torch's fake CUDA tensors, each with its value kept on the CPU beside it.

``FakeTensorMode`` says on which device every result lies and refuses to mix devices, on a build and a machine without
CUDA. What depends on data (a boolean index, ``item()``) it cannot know: there the value answers, so that a whole
training step runs and its numbers can be held against the CPU's. Only tensors on the GPU are fake.

Left out: kernels, memory, streams, speed. What makes the host wait for the GPU is noted.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensor,
    FakeTensorMode,
    unset_fake_temporarily,
)
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map, tree_map_only

from tests.fake_cuda.backward import backward

GPU, CPU = torch.device("cuda", 0), torch.device("cpu")
_PACKAGE = str(Path(__file__).parents[2] / "reflow")
_COPIES = (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default)


class FakeGPU(TorchDispatchMode):
    """The device ``cuda:0``, while it is :meth:`switched_on`.

    Attributes:
        waits: what the host waited for so far: an operation, and the function of this project that asked for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._fakes, self.waits = FakeTensorMode(allow_non_fake_inputs=True), list[str]()

    @contextlib.contextmanager
    def switched_on(self) -> Iterator[FakeGPU]:
        """The GPU is there as long as this lasts."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(patch.object(Tensor, "pin_memory", lambda tensor: tensor))
            stack.enter_context(patch.object(torch, "tensor", _tensor))
            stack.enter_context(patch.object(Tensor, "backward", lambda loss, *_, **__: backward(loss)))
            # Autocast asks for a GPU that it knows, and else switches itself off.
            stack.enter_context(patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False))
            stack.enter_context(patch("torch.cuda.is_bf16_supported", lambda: True))
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))  # the others are kernels of a GPU
            stack.enter_context(self._fakes)
            stack.enter_context(self)
            yield self

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.prim.device.default:
            return args[0].device
        kwargs = kwargs or {}
        if not any(map(_on_gpu, _leaves((args, kwargs)))):
            with unset_fake_temporarily():
                return func(*args, **kwargs)
        if _copies(func, args, kwargs):
            self._note(func)
        try:
            answer = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            self._note(func)
            return tree_map_only(Tensor, self._lay, _evaluated(func, args, kwargs))
        return tree_map(_joined, answer, _evaluated(func, args, kwargs))

    def _lay(self, value: Tensor) -> Tensor:
        """A value onto the GPU."""
        with self._fakes:
            fake = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=GPU)
        return _joined(fake, value)

    def _note(self, func: Any) -> None:
        frame: Any = sys._getframe()
        while frame is not None and not frame.f_code.co_filename.startswith(_PACKAGE):
            frame = frame.f_back
        where = "elsewhere" if frame is None else frame.f_code.co_qualname
        self.waits.append(f"{func.name()} in {where}")


def value_of(tensor: Tensor) -> Tensor:
    """What a tensor holds, on the CPU: its own memory, no copy."""
    value: Tensor = tensor.value if isinstance(tensor, FakeTensor) else tensor  # type: ignore[attr-defined]
    return value


_made = torch.tensor


def _tensor(data: Any, *args: Any, **kwargs: Any) -> Tensor:
    """``torch.tensor``, which reads numbers out of a list of tensors past all modes."""
    if isinstance(data, (list, tuple)):
        data = tree_map_only(FakeTensor, lambda number: number.tolist(), data)
    return _made(data, *args, **kwargs)


def _on_gpu(leaf: Any) -> bool:
    return isinstance(leaf, FakeTensor) or (isinstance(leaf, torch.device) and leaf.type == "cuda")


def _evaluated(func: Any, args: Any, kwargs: Any) -> Any:
    """What the CPU says of the values."""
    if func is torch.ops.aten._efficientzerotensor.default:  # a tangent without memory, which has no value
        func = torch.ops.aten.zeros.default
    with unset_fake_temporarily():
        return func(*_lent(args), **_lent(kwargs))


def _lent(given: Any) -> Any:
    """Arguments with values in place of the GPU's tensors, and the CPU in its own."""
    if isinstance(given, Tensor):
        return value_of(given)
    if isinstance(given, torch.device):
        return CPU
    if isinstance(given, dict):
        return {name: _lent(entry) for name, entry in given.items()}
    return type(given)(map(_lent, given)) if type(given) in (list, tuple) else given


def _leaves(given: Any) -> Iterator[Any]:
    if isinstance(given, dict):
        given = tuple(given.values())
    if isinstance(given, (list, tuple)):
        for entry in given:
            yield from _leaves(entry)
    else:
        yield given


def _copies(func: Any, args: Any, kwargs: Any) -> bool:
    """Whether it copies between host and GPU, and not in the background."""
    if func not in _COPIES:
        return False
    tensors = [leaf for leaf in _leaves(args) if isinstance(leaf, Tensor)]
    ends = {_on_gpu(tensor) for tensor in tensors}
    if func is _COPIES[0]:
        ends.add(_on_gpu(kwargs["device"]) if kwargs.get("device") is not None else _on_gpu(tensors[0]))
    background = kwargs.get("non_blocking") or (func is _COPIES[1] and args[2:] == (True,))
    return len(ends) == 2 and not background and all(map(Tensor.numel, tensors))


def _joined(fake: Any, value: Any) -> Any:
    """A fake answer with its value; what came back to the host is the value alone."""
    if not isinstance(fake, Tensor):
        return fake
    if fake.device == CPU:
        return value
    assert (fake.shape, fake.dtype) == (value.shape, value.dtype), (fake, value)
    fake.value = value  # type: ignore[attr-defined]
    return fake
