"""Is a file of weights whole? Asked of its head alone, before anything is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open

from reflow.errors import UserError

_KINDS = (
    *("F64", "F32", "F16", "BF16"),
    *("I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"),
)
_POINTER = b"version https://git-lfs"


def check_weights(file: Path) -> None:
    """Refuses a safetensors file that is cut short, or a pointer to one, or holds numbers that no policy has."""
    refuse_pointer(file)
    try:
        with safe_open(file, "pt") as opened:
            kinds = {name: opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118 (no mapping)
    except SafetensorError as error:
        raise UserError(
            f"{file} is no whole safetensors file ({error}); it may be cut short: copy or download it anew"
        ) from error
    _refuse_kinds(file, kinds)


def _refuse_kinds(file: Path, kinds: Mapping[str, str]) -> None:
    for name, kind in kinds.items():
        if kind not in _KINDS:
            raise UserError(
                f"{file}: {name} is of type {kind}; allowed: {', '.join(_KINDS)}. Save the policy in one of these"
            )


def refuse_pointer(file: Path) -> None:
    """Refuses a git-lfs pointer in the place of a file."""
    with open(file, "rb") as handle:
        head = handle.read(len(_POINTER))
    if head == _POINTER:
        raise UserError(
            f"{file} is a git-lfs pointer, not the file itself; fetch it with `git lfs pull` in {file.parent}, or "
            "download the policy from the hub again"
        )
