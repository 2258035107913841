"""One shard on disk: written so that it is whole or not there, and verified.

A shard is a safetensors file; the JSON beside it, written after it, says how many bytes it has and their SHA-256.
Without that sidecar, or with another size, the shard is not there. Left out: what is in a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor
from torch.nn.functional import pad

from reflow.endpoints.layout import sidecar
from reflow.errors import UserError
from reflow.files import read_json, replace_file, sha256
from reflow.typed import typed

_SAFETENSORS = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.bool: "BOOL",
    torch.int64: "I64",
}


@dataclass(frozen=True)
class Seal:
    """What identifies the content of a file.

    Attributes:
        sha256: of its bytes, in hexadecimal.
        bytes: how many.
    """

    sha256: str
    bytes: int


def write_shard(path: Path, tensors: Mapping[str, Tensor]) -> Seal:
    """Writes a shard, then its sidecar; the bytes depend on the tensors alone."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    seal = Seal(hashlib.sha256(content).hexdigest(), len(content))
    write_whole(path, content)
    write_whole(sidecar(path), _sealed(seal))
    return seal


def shard_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes that a shard and its sidecar will take, without making them; tensors of the ``meta`` device will do."""
    offset, header = 0, {}
    for name, tensor in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        start, offset = offset, offset + tensor.nbytes
        form = {"dtype": _SAFETENSORS[tensor.dtype], "shape": list(tensor.shape)}
        header[name] = form | {"data_offsets": [start, offset]}
    length = len(json.dumps(header, separators=(",", ":")))
    whole = 8 + -(-length // 8) * 8 + offset  # the header is filled up to a multiple of 8
    return whole + len(_sealed(Seal("0" * 64, whole)))


CHANGED = "its bytes do not have the checksum they were written with"


def read_seal(path: Path) -> Seal | None:
    """The seal of a shard that is there in full, told by its size; None where there is none."""
    seal = _sidecar(path)
    return seal if seal and path.is_file() and path.stat().st_size == seal.bytes else None


def inspect(
    path: Path,
    size: int,
    expected: Seal | None = None,
    misfit: Callable[[dict[str, Tensor]], str | None] = lambda tensors: None,
) -> str | None:
    """Reads a shard whole and says what is wrong with it, or None.

    Args:
        path: of the shard.
        size: observations that should be in it.
        expected: its seal by the manifest, where that has one.
        misfit: what else is wrong with its tensors.
    """
    if not path.is_file():
        return "the file is missing"
    if (seal := _sidecar(path)) is None:
        return f"its checksum {sidecar(path).name} is missing or damaged"
    if expected is not None and seal != expected:
        return f"its checksum {sidecar(path).name} is not the one in the manifest"
    if (there := path.stat().st_size) != seal.bytes:
        return f"it has {there} bytes instead of {seal.bytes}"
    if sha256(path) != seal.sha256:
        return CHANGED
    try:
        tensors = mapped(path)
    except SafetensorError as error:
        return f"it is no safetensors file ({error})"
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or len(tensor) != size:
            return f"{name} has shape {tuple(tensor.shape)}, {size} observations belong in it"
        if tensor.dtype not in _SAFETENSORS:
            return f"{name} is of {tensor.dtype}, which is none of a shard's types"
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return f"{name} holds numbers that are not finite"
    return misfit(tensors)


def mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a shard, mapped into memory: nothing is read yet."""
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)


def joined(tensors: Sequence[Tensor]) -> Tensor:
    """Batches after one another, zeros appended along dimension 1 up to the longest."""
    longest = max(tensor.shape[1] for tensor in tensors)
    return torch.cat(
        [pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, longest - tensor.shape[1])) for tensor in tensors]
    )


def write_whole(path: Path, content: bytes) -> None:
    """Puts a file in place whole; the file beside it is this process's own, for :func:`sweep` to tell."""
    owner = f"{socket.gethostname()}-{os.getpid()}"
    replace_file(path, lambda staged: staged.write_bytes(content), unique=owner)


def sweep(folder: Path) -> None:
    """Removes what processes of this machine left half-written when they were killed."""
    for staged in folder.rglob(".*.partial"):
        host, _, process = staged.name.removesuffix(".partial").rpartition("-")
        if host.endswith(socket.gethostname()) and process.isdigit() and not _alive(int(process)):
            staged.unlink(missing_ok=True)


def _sidecar(path: Path) -> Seal | None:
    try:
        return typed(Seal, read_json(sidecar(path)))
    except (OSError, UserError):
        return None


def _sealed(seal: Seal) -> bytes:
    return json.dumps(asdict(seal)).encode() + b"\n"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except OSError as error:
        return not isinstance(error, ProcessLookupError)
    return True
