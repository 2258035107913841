"""Fields that the installed LeRobot does not know, because a newer one wrote them (or an older one).

A field whose value means "off" changes nothing and is left out. Any other means something that would not be done. And
what it knows, it may still refuse.
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import Any

from reflow.errors import UserError
from reflow.policies import stock
from reflow.policies.files import CONFIG, PolicyFiles

_CHOICE = "type"  # which class a configuration is of, not one of its fields


def drop_unknown_fields(files: PolicyFiles) -> Iterator[str]:
    """Leaves out fields of ``config.json``, and of configurations inside it, that are off and not known."""
    kind = stock.config_class(str(files.config.get(_CHOICE)))
    if kind is not None:  # where there is none, loading refuses the type itself
        yield from _drop(files, CONFIG, files.config, stock.fields_of(kind), "")


def drop_unknown_step_fields(files: PolicyFiles) -> Iterator[str]:
    """Likewise in the settings of processors' steps."""
    for name, content in files.processors.items():
        for number, step in enumerate(content["steps"]):
            kind = stock.step_class(step["registry_name"])
            known = None if kind is None else stock.step_fields(kind)
            if known is not None and step.get("config"):
                yield from _drop(files, name, step["config"], dict.fromkeys(known), f"steps.{number}.config.")


def check_readable(files: PolicyFiles) -> Iterator[str]:
    """Refuses a configuration, or a step that normalises, that LeRobot itself refuses; there is nothing to change."""
    if stock.config_class(str(files.config.get(_CHOICE))) is None:
        return
    try:
        stock.config_from(files.config | {"device": "cpu"})  # or it would speak of devices that are not here
    except Exception as error:  # whatever its parsers and checks raise, they raise about this file
        raise UserError(
            f"{files.folder / CONFIG}: LeRobot {stock.LEROBOT} refuses it ({_root(error)}); correct what it "
            "names, or train the policy without it"
        ) from error
    for name, step in files.normalizers():
        try:
            _ = stock.step_class(step["registry_name"])(**step["config"])  # type: ignore[misc]  # None: refused
        except Exception as error:  # likewise
            raise UserError(
                f"{files.folder / name}: LeRobot {stock.LEROBOT} cannot make its step {step['registry_name']!r} "
                f"({_root(error)}); copy the policy's folder anew"
            ) from error
    yield from ()


def _root(error: BaseException) -> str:
    """What was wrong in the end: LeRobot's parser says of its checks no more than that there was something."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def _drop(
    files: PolicyFiles, name: str, content: dict[str, Any], known: dict[str, type | None], prefix: str
) -> Iterator[str]:
    unknown = _unknown(content, known)
    matters = [key for key in unknown if not _is_off(content[key])]
    if matters:
        said = ", ".join(f"{prefix}{key}={content[key]!r}" for key in matters)
        raise UserError(
            f"{files.folder / name} sets {said}, which LeRobot {stock.LEROBOT} does not know; it was written by "
            "another version, and leaving it out would make another policy of it. Install the LeRobot that wrote "
            "it, if reflow takes that version, or train the policy with this one"
        )
    for key in unknown:
        del content[key]
    if unknown:
        said = ", ".join(f"{prefix}{key}" for key in unknown)
        yield f"{files.folder / name}: {said} is not known to LeRobot {stock.LEROBOT} and off; left out"
    for key, kind in known.items():
        if kind is not None and isinstance(content.get(key), dict):
            yield from _drop(files, name, content[key], stock.fields_of(kind), f"{prefix}{key}.")


def _unknown(content: dict[str, Any], known: Container[str]) -> list[str]:
    return [key for key in content if key not in known and key != _CHOICE]


def _is_off(value: Any) -> bool:
    return value is None or value is False or value == 0 or value in ("", [], {})
