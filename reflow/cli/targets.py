"""What a configuration's ``_target_`` may stand for, at any depth, looked at before anything is made.

The written name has to be on the list of :mod:`reflow.trust`, and what it stands for has to be defined there: a
module that imports ``os`` lends nobody ``os.system``.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from typing import Any
from unittest.mock import patch

import hydra
from hydra._internal.callbacks import Callbacks
from omegaconf import DictConfig, OmegaConf

from reflow.errors import UserError
from reflow.trust import TARGETS, package_of, way_out

TARGET = "_target_"


class ForbiddenTargetError(UserError):
    """A configuration names code that it may not name."""


def check_targets(values: Any) -> None:
    """Refuses plain values that name code outside the list, or could after another resolution.

    Raises:
        ForbiddenTargetError: names the target, and how to allow it where it is one's own.
    """
    if isinstance(values, Mapping):
        if TARGET in values:
            _check(values[TARGET])
        for value in values.values():
            check_targets(value)
    elif isinstance(values, list | tuple):
        for value in values:
            check_targets(value)
    elif isinstance(values, str) and "${" in values:  # Hydra would resolve it, to a target perhaps
        raise ForbiddenTargetError(
            f"{values!r} is an interpolation that is left over in a section with a {TARGET}; write its value"
        )


@contextlib.contextmanager
def callbacks_checked() -> Iterator[None]:
    """In here Hydra's own callbacks, which it makes before a command begins, are held to the same list."""
    make = Callbacks.__init__

    def checked(self: Callbacks, config: DictConfig | None = None) -> None:
        asked = None if config is None else OmegaConf.select(config, "hydra.callbacks")
        check_targets(OmegaConf.to_container(asked, resolve=True) if asked else None)
        make(self, config)

    with patch.object(Callbacks, "__init__", checked):
        yield


def _check(name: Any) -> None:
    package = package_of(name, TARGETS) if isinstance(name, str) else None
    if package is None:
        allowed = ", ".join(TARGETS)
        raise ForbiddenTargetError(f"{TARGET}={name}; allowed: {allowed}; {way_out(str(name))}")
    if package == name:
        return
    try:
        found = hydra.utils.get_object(name)
    except Exception as error:  # whatever importing it raises
        raise ForbiddenTargetError(
            f"{TARGET}={name} is not to be found ({' '.join(str(error).split())[:300]}); correct the name"
        ) from error
    if not (inspect.isclass(found) or inspect.isfunction(found)):
        raise ForbiddenTargetError(
            f"{TARGET}={name} is a {type(found).__name__}; allowed: a class or a function"
        )
    if not f"{found.__module__}.".startswith(package):
        raise ForbiddenTargetError(
            f"{TARGET}={name} is {found.__module__}.{found.__qualname__}, and not defined in {package[:-1]}; "
            f"{way_out(found.__module__)}"
        )
