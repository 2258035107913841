"""Which data sets a run names: one, or several with weights; a single one is a mixture of one.

Left out: opening them (``reflow.data.opened``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from reflow.data.folder import named
from reflow.errors import UserError


@dataclass(frozen=True)
class Source:
    """One data set of a run, not opened yet.

    Attributes:
        repo_id: a hub id, or any name beside a local ``root``.
        root: its local folder; None takes it from LeRobot's cache or the hub.
        episodes: training episodes; None for all but the held-out ones.
        val_episodes: held-out episodes; None for the last tenth.
        exclude_episodes: used for neither.
        rename: from its camera keys to the policy's.
        weight: its share of training frames beside those of others; None for as many as it has.
        where: the section that names it, for errors.
    """

    repo_id: str
    root: str | Path | None = None
    episodes: Sequence[int] | None = None
    val_episodes: Sequence[int] | None = None
    exclude_episodes: Sequence[int] | None = None
    rename: Mapping[str, str] | None = None
    weight: float | None = None
    where: str = "data"

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < float("inf"):
            raise UserError(f"{self.where}.weight={self.weight}; allowed: more than 0, or null")

    def __str__(self) -> str:
        return named(self.repo_id, self.where, self.root)


_KEYS = tuple(entry.name for entry in fields(Source) if entry.name != "where")
_ALONE = ("repo_id", "root", "episodes", "val_episodes", "exclude_episodes", "rename")
_EPISODES = "a list of episode numbers"
_ALLOWED = {
    "weight": "a number above 0",
    "rename": "camera names, theirs to the policy's ({a: b})",
    "episodes": _EPISODES,
    "val_episodes": _EPISODES,
    "exclude_episodes": _EPISODES,
}


def sources_of(arguments: Mapping[str, Any]) -> tuple[Source, ...]:
    """The data sets that a section ``data`` names.

    Args:
        arguments: arguments of :class:`reflow.data.LeRobotDataModule`; others than those of sources are left aside.

    Raises:
        UserError: names the key that is missing, unknown, or there although another excludes it.
    """
    mixture = arguments.get("mixture")
    given = [name for name in _ALONE if arguments.get(name) is not None]
    if mixture is None:
        if arguments.get("repo_id") is None:
            raise UserError("neither data.repo_id nor data.mixture is given; name a data set, or several")
        alone: dict[str, Any] = {name: arguments.get(name) for name in _ALONE}
        _check_kinds(alone, "data")
        return (Source(**_expanded(alone)),)
    if given:
        raise UserError(
            f"data.mixture and {', '.join(f'data.{name}' for name in given)} are both given; put what is said of one "
            "data set into its entry of the mixture, and leave the other null"
        )
    if not mixture:
        raise UserError(
            "data.mixture=[] names no data set; give entries {repo_id: ..., root: ..., weight: ...}"
        )
    return tuple(_entry(values, f"data.mixture[{number}]") for number, values in enumerate(mixture))


def _entry(values: Any, where: str) -> Source:
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is {values!r}; allowed: {{{', '.join(f'{key}: ...' for key in _KEYS)}}}")
    if unknown := sorted(set(map(str, values)) - set(_KEYS)):
        raise UserError(f"{where} has {unknown}; allowed: {', '.join(_KEYS)}")
    if values.get("repo_id") is None:
        raise UserError(f"{where}.repo_id is missing; name the data set (any name beside a local root)")
    _check_kinds(values, where)
    return Source(**_expanded({str(key): value for key, value in values.items()}), where=where)


def _check_kinds(values: Mapping[str, Any], where: str) -> None:
    for key, value in values.items():
        if value is not None and not _fits(key, value):
            raise UserError(f"{where}.{key}={value!r}; allowed: {_ALLOWED.get(key, 'text')}, or null")


def _expanded(values: dict[str, Any]) -> dict[str, Any]:
    """With ``~`` in the place of a home folder understood, as shells do only where it is not quoted."""
    root = str(values.get("root") or "")
    return values | {"root": str(Path(root).expanduser())} if root.startswith("~") else values


def _fits(key: str, value: Any) -> bool:
    """Whether a value is of its key's kind; inside a list the schema of the command does not look."""
    if key == "weight":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if key == "rename":
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value.values())
    if key.endswith("episodes"):
        return isinstance(value, (list, tuple)) and all(type(number) is int for number in value)
    return isinstance(value, (str, Path))
