"""One shard on disk: written so that it is whole or not there, and looked over.

A shard is a safetensors file; the JSON beside it, written after it, says how many bytes it has and their SHA-256.
Without that sidecar, or with another size, the shard is not there. Left out: what is in a shard.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from reflow.endpoints.layout import sidecar

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


@dataclass(frozen=True)
class Shape:
    """Type and shape of a tensor that is not there yet."""

    dtype: torch.dtype
    shape: tuple[int, ...]


def write_shard(path: Path, tensors: Mapping[str, Tensor]) -> Seal:
    """Writes a shard, then its sidecar; the bytes depend on the tensors alone."""
    content = save({name: tensor.contiguous() for name, tensor in tensors.items()})
    seal = Seal(hashlib.sha256(content).hexdigest(), len(content))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, content)
    write_bytes(sidecar(path), _sealed(seal))
    return seal


def shard_bytes(shapes: Mapping[str, Shape]) -> int:
    """Bytes that a shard and its sidecar will take, without making them."""
    offset, header = 0, {}
    for name, entry in sorted(shapes.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])):
        stop = offset + entry.dtype.itemsize * int(torch.Size(entry.shape).numel())
        header[name] = {
            "dtype": _SAFETENSORS[entry.dtype],
            "shape": list(entry.shape),
            "data_offsets": [offset, stop],
        }
        offset = stop
    length = len(json.dumps(header, separators=(",", ":")))
    whole = 8 + -(-length // 8) * 8 + offset  # the header is filled up to a multiple of 8
    return whole + len(_sealed(Seal("0" * 64, whole)))


def read_seal(path: Path) -> Seal | None:
    """The seal of a shard that is there in full, told by its size; None where there is none."""
    try:
        seal = Seal(**json.loads(sidecar(path).read_text()))
        return seal if path.stat().st_size == seal.bytes else None
    except (OSError, ValueError, TypeError):
        return None


def inspect(path: Path, size: int, expected: Seal | None = None) -> str | None:
    """Reads a shard whole and says what is wrong with it, or None.

    Args:
        path: of the shard.
        size: observations that should be in it.
        expected: its seal by the manifest, where that has one.
    """
    if not path.is_file():
        return "the file is missing"
    try:
        seal = Seal(**json.loads(sidecar(path).read_text()))
    except (OSError, ValueError, TypeError):
        return f"its checksum {sidecar(path).name} is missing or damaged"
    if expected is not None and seal != expected:
        return f"its checksum {sidecar(path).name} is not the one in the manifest"
    if (there := path.stat().st_size) != seal.bytes:
        return f"it has {there} bytes instead of {seal.bytes}"
    with open(path, "rb") as handle:
        if hashlib.file_digest(handle, "sha256").hexdigest() != seal.sha256:
            return "its bytes do not have the checksum they were written with"
    try:
        with safe_open(path, "pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        return f"it is no safetensors file ({error})"
    for name, tensor in tensors.items():
        if tensor.ndim == 0 or len(tensor) != size:
            return f"{name} has shape {tuple(tensor.shape)}, {size} observations belong in it"
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            return f"{name} holds numbers that are not finite"
    return None


def write_bytes(path: Path, content: bytes) -> None:
    """Puts a file in place whole: a sibling is written and flushed, then renamed."""
    staged = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}.partial")
    with open(staged, "wb") as handle:
        handle.write(content)
        handle.flush()
        os.fsync(handle.fileno())
    os.replace(staged, path)


def sweep(folder: Path) -> None:
    """Removes what processes of this machine left half-written when they were killed."""
    for staged in folder.rglob(".*.partial"):
        host, _, process = staged.name.removesuffix(".partial").rpartition("-")
        if host.endswith(socket.gethostname()) and process.isdigit() and not _alive(int(process)):
            staged.unlink(missing_ok=True)


def _sealed(seal: Seal) -> bytes:
    return json.dumps(asdict(seal)).encode() + b"\n"


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
