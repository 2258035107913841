"""Schemas of configurations: dataclasses without a default, so that every value a user reads stands in ``conf/``.

A section that holds the arguments of a class is made from that class's signature: what it takes, and nothing else,
is what YAML may say. Left out: values that are out of range, which the class itself refuses.
"""

from __future__ import annotations

import copyreg
import dataclasses
import inspect
import types
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from omegaconf import MISSING

# A job of a sweep carries its schema to another process, and a field without a default is told by this very object.
copyreg.pickle(type(dataclasses.MISSING), lambda _: "MISSING")

OPEN = dict[str, Any]
"""A section whose keys are checked by the class that its ``_target_`` names."""


def schema(**keys: Any) -> type:
    """A dataclass with these keys and types; a key that may be null is null until a value is given."""
    fields = [(name, _settable(kind), _unset(kind)) for name, kind in keys.items()]
    return dataclasses.make_dataclass("Section", fields)


def keys_of(kind: Any, *, but: Collection[str] = ()) -> dict[str, Any]:
    """The arguments of a class or function, and what they are in YAML.

    Args:
        kind: its annotations give the types: what YAML cannot say (``Path``, ``Literal``) becomes text, what it can
            say in more than one way is not checked.
        but: arguments that are not configured.
    """
    hints = get_type_hints(kind.__init__ if inspect.isclass(kind) else kind)
    return {name: _in_yaml(hints[name]) for name in inspect.signature(kind).parameters if name not in but}


def schema_of(kind: Any, *, but: Collection[str] = (), **more: Any) -> type:
    """A dataclass with the arguments of a class or function, and with more keys (``_target_=str``), or instead."""
    return schema(**keys_of(kind, but=but) | more)


def _settable(kind: Any) -> Any:
    """OmegaConf cannot put a dictionary in the place of a typed one that is null."""
    return Any if any(get_origin(entry) is dict for entry in get_args(kind)) else kind


def _unset(kind: Any) -> Any:
    if dataclasses.is_dataclass(kind):
        return dataclasses.field(default_factory=kind)  # type: ignore[arg-type]  # a class, as Any says
    return dataclasses.field(default=None if type(None) in get_args(kind) else MISSING)


def _in_yaml(hint: Any) -> Any:
    """What an annotation is in YAML, as OmegaConf names it."""
    origin, inner = get_origin(hint), [entry for entry in get_args(hint) if entry is not Ellipsis]
    if origin in (Union, types.UnionType):
        kinds = {_in_yaml(entry) for entry in inner if entry is not type(None)}
        known = kinds.pop() if len(kinds) == 1 else Any
        return known | None if type(None) in inner and known is not Any else known
    if dataclasses.is_dataclass(hint):
        return schema_of(hint)
    if hint is Path or origin is Literal:
        return str
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return dict[str, _in_yaml(inner[1])]  # type: ignore[misc]  # made while running
    if inspect.isclass(origin) and issubclass(origin, Sequence):
        return list[_in_yaml(inner[0])]  # type: ignore[misc]  # made while running
    return hint if hint in (int, float, bool, str) else Any
