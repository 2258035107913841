"""Sections of a configuration as plain values, and as the objects that they describe."""

from __future__ import annotations

import inspect
from typing import Any

import hydra
from hydra.errors import InstantiationException
from omegaconf import OmegaConf

from reflow.cli.explain import CONFIGURATION, ConfigurationError, nearest
from reflow.cli.targets import check_targets
from reflow.errors import UserError


def plain(section: Any) -> Any:
    """The plain values of a configuration: dictionaries, lists, numbers, text."""
    return OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section


def build(section: Any, **changes: Any) -> Any:
    """The object that a section's ``_target_`` names, of plain values, some of them changed.

    Raises:
        ForbiddenTargetError: a target that a configuration may not name, at any depth.
        UserError: the target's own; or there is no such target, or it does not take these values.
    """
    values = plain(section) | changes
    check_targets(values)
    try:
        return hydra.utils.instantiate(values, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, (UserError, OSError, *CONFIGURATION)):
            raise cause from cause.__cause__
        what = " ".join(str(cause).split())
        raise ConfigurationError(f"{section['_target_']}: {type(cause).__name__}: {what}") from error


def build_with(section: Any, *arguments: Any, **objects: Any) -> Any:
    """`build` with objects that stand in no configuration.

    Raises:
        ConfigurationError: the section has a key, or another library's target a value, that the target does not take.
    """
    target = build(section, _partial_=True)
    taken = inspect.signature(target.func).parameters
    for key in [] if any(entry.kind is entry.VAR_KEYWORD for entry in taken.values()) else target.keywords:
        if key not in taken:
            hint = nearest(key, list(taken))
            raise ConfigurationError(f"{section['_target_']} takes no {key}={target.keywords[key]}{hint}")
    if target.func.__module__.startswith("reflow."):
        return target(*arguments, **objects)
    try:
        return target(*arguments, **objects)
    except Exception as error:  # a library's own classes, Lightning's MisconfigurationException among them
        what = " ".join(str(error).split())
        raise ConfigurationError(f"{section['_target_']}: {type(error).__name__}: {what}") from error
