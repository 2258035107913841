"""JSON as dataclasses, each value of the type that is written there; anything else is refused by its name.

Left out: reading the file (:mod:`reflow.files`), and what values mean, which the dataclass itself checks.
"""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from reflow.errors import UserError


class WrongTypeError(UserError):
    """Values are not those of a dataclass."""


def typed[T](kind: type[T], values: object) -> T:
    """A dataclass out of values as JSON has them; nothing is converted.

    Args:
        kind: a dataclass.
        values: an object with its fields; lists stand for tuples.

    Raises:
        WrongTypeError: names the field, what is wrong with it, and its value; a field that is missing or unknown.
    """
    try:
        made: T = _adapter(kind).validate_json(json.dumps(values), strict=True)  # type: ignore[arg-type]  # a class
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise WrongTypeError(
            f"{where + ': ' if where else ''}{first['msg']}, it is {_short(first['input'])}"
        ) from error
    for where, known in _unknown(values, made):
        raise WrongTypeError(f"{where} is unknown; allowed: {', '.join(known)}")
    return made


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _unknown(values: Any, made: Any, where: str = "") -> Iterator[tuple[str, list[str]]]:
    """Names in the values that no field took, and those that would have been."""
    if dataclasses.is_dataclass(made):
        known = [entry.name for entry in dataclasses.fields(made)]
        yield from ((f"{where}{name}", known) for name in values if name not in known)
        inside: Mapping[str, Any] = {name: getattr(made, name) for name in known if name in values}
    else:
        inside = made if isinstance(made, Mapping) else {}
    for name, value in inside.items():
        yield from _unknown(values[name], value, f"{where}{name}.")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
