"""The one way in and out of a command: Hydra composes, the command runs, what went wrong is one line.

Every value is checked against the command's schema while it is composed. ``HYDRA_FULL_ERROR=1`` shows tracebacks.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import functools
import inspect
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reflow.config_path import CONFIG_DIR
from reflow.ending import ending, in_words
from reflow.errors import NotInstalledError, UserError
from reflow.quiet import hush

_CONFIGURATION = (HydraException, OmegaConfBaseException)
_FULL = "HYDRA_FULL_ERROR"
OmegaConf.register_new_resolver(  # in --help
    "choices", lambda group: "|".join(sorted(file.stem for file in Path(CONFIG_DIR, group).glob("*.yaml")))
)


class ConfigurationError(UserError):
    """A key that a command does not know, or a value of the wrong type."""


@dataclass(frozen=True)
class Command:
    """What a command may be told; a job of a sweep carries it to wherever it runs.

    Attributes:
        name: of its file in ``conf/``.
        schema: a dataclass (:mod:`reflow.schema`).
        renamed: keys of earlier versions, and what replaces them.
    """

    name: str
    schema: type
    renamed: Mapping[str, str]


_commands: dict[str, Command] = {}


def command(
    name: str,
    schema: type,
    *,
    renamed: Mapping[str, str] | None = None,
) -> Callable[[Callable[[DictConfig], int | None]], Callable[[], None]]:
    """Makes the entry point of a function of a composed configuration.

    Args:
        name: of its file in ``conf/``, which begins with ``defaults: [NAME_schema, base, ...]``.
        schema: a dataclass (:mod:`reflow.schema`). With a key ``json`` the command takes ``--json``.
        renamed: keys of earlier versions, and what replaces them.

    Returns:
        A decorator. The entry point exits with what the function returns (None: 0), or as :mod:`reflow.ending` says.
    """
    ConfigStore.instance().store(f"{name}_schema", schema)
    this = _commands[name] = Command(name, schema, renamed or {})

    def decorate(run: Callable[[DictConfig], int | None]) -> Callable[[], None]:
        @functools.wraps(run)
        def main() -> None:
            asked, codes = os.environ.get(_FULL), [0]

            def job(config: DictConfig) -> None:
                hush()
                check_schema(this, config, sys.argv[1:])
                codes.append(run(config) or 0)

            flags = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
            flags.add_argument("--json", action="store_true")
            flag, rest = flags.parse_known_args()
            flag.json &= any(key.name == "json" for key in fields(schema))
            as_json = flag.json or "json=true" in rest

            @functools.wraps(run)
            def quiet_job(config: DictConfig) -> None:
                with _environment(asked), _ending(this, as_json):
                    job(config)

            with _ending(this, as_json):
                _check_launcher(rest)
                if flag.json:
                    _no_flags(rest)
                    job(composed(name, *rest, "json=true"))
                else:
                    with _environment("1"):  # or Hydra prints errors in its own words, and exits with 1
                        hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name=name)(quiet_job)()
            if max(codes):
                raise SystemExit(max(codes))

        return main

    return decorate


def composed(name: str, *overrides: str) -> DictConfig:
    """A command's configuration, as its command line would compose it.

    Raises:
        ConfigurationError: names the key, the value, and what is allowed.
    """
    try:
        with hydra.initialize_config_dir(CONFIG_DIR, version_base="1.3"):
            config = hydra.compose(name, list(overrides))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigurationError(explain(error, _commands[name], overrides)) from error
    check_schema(_commands[name], config, overrides)
    return config


def check_schema(this: Command, config: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Rejects what Hydra lets pass: keys that are added with ``+``.

    Raises:
        ConfigurationError: names the key, the value, and what is allowed.
    """
    try:
        OmegaConf.merge(OmegaConf.structured(this.schema), OmegaConf.to_container(config))
    except OmegaConfBaseException as error:
        raise ConfigurationError(explain(error, this, overrides)) from error


def explain(error: BaseException, this: Command, overrides: Sequence[str] = ()) -> str:
    """What went wrong, in one line of words that a user can act on."""
    text = str(error)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        hint = _nearest(choice, error.options)
        return f"{group}={choice}: there is no conf/{group}/{choice}.yaml{hint} Allowed: {', '.join(error.options)}"
    if text.startswith("Multiple values for "):
        return f"{text.partition('.')[0]}: give it once, and without a plus where one is chosen already (env=pick)"
    cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ is not None else error
    if not isinstance(cause, _CONFIGURATION):
        return text
    if (found := re.search(r"full_key: (\S+)", str(cause))) is None:
        return " ".join(text.split())
    return _about_key(found[1], str(cause), this, overrides)


def _about_key(key: str, what: str, this: Command, overrides: Sequence[str]) -> str:
    for old, new in this.renamed.items():
        if key == old or key.startswith(f"{old}."):
            return f"{old}=... is now {new}"
    given = next((entry for entry in overrides if entry.lstrip("+~").partition("=")[0] == key), key)
    section, _, last = key.rpartition(".")
    known = OmegaConf.structured(this.schema)
    known = OmegaConf.select(known, section) if section else known
    allowed = list(map(str, known)) if isinstance(known, DictConfig) else []
    if last in allowed or not allowed:
        reason = next(line for line in what.splitlines() if not line.startswith("In '"))
        return f"configuration key {given.lstrip('+')}: {reason}"
    where = f"of {section}" if section else "at the top"
    return (
        f"configuration key {given.lstrip('+')}: there is no such key{_nearest(last, allowed)} "
        f"Keys {where}: {', '.join(entry for entry in allowed if not entry.startswith('_'))}"
    )


def _nearest(word: str, allowed: Sequence[str]) -> str:
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]}?" if close else "."


def overrides() -> list[str]:
    """What the user said on the command line beside the flags."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def sweeping() -> bool:
    """Whether this is one job of several (``-m``)."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def plain(section: Any) -> Any:
    """The plain values of a configuration: dictionaries, lists, numbers, text."""
    return OmegaConf.to_container(section, resolve=True) if OmegaConf.is_config(section) else section


def build(section: Any, **changes: Any) -> Any:
    """The object that a section's ``_target_`` names, of plain values, some of them changed.

    Raises:
        UserError: the target's own.
        InstantiationException: there is no such target, or it failed otherwise.
    """
    try:
        return hydra.utils.instantiate(plain(section) | changes, _convert_="all")
    except InstantiationException as error:
        cause: BaseException = error
        while isinstance(cause, InstantiationException) and cause.__cause__ is not None:
            cause = cause.__cause__
        if isinstance(cause, (UserError, OSError, *_CONFIGURATION)):
            raise cause from cause.__cause__
        what = " ".join(str(cause).split())
        raise ConfigurationError(f"{section['_target_']}: {type(cause).__name__}: {what}") from error


def build_with(section: Any, *arguments: Any, **objects: Any) -> Any:
    """`build` with objects that stand in no configuration.

    Raises:
        ConfigurationError: the section has a key that its target does not take.
    """
    target = build(section, _partial_=True)
    taken = inspect.signature(target.func).parameters
    for key in [] if any(entry.kind is entry.VAR_KEYWORD for entry in taken.values()) else target.keywords:
        if key not in taken:
            hint = _nearest(key, list(taken))
            raise ConfigurationError(f"{section['_target_']} takes no {key}={target.keywords[key]}{hint}")
    return target(*arguments, **objects)


def _ending(this: Command, as_json: bool) -> contextlib.AbstractContextManager[None]:
    def words(error: BaseException) -> str | None:
        if isinstance(error, _CONFIGURATION):
            return explain(error, this, sys.argv[1:])
        return in_words(error)

    return ending(words, as_json=as_json, full=os.environ.get(_FULL) == "1")


def _check_launcher(words: Sequence[str]) -> None:
    """Refuses a sweep by SLURM where there is none; Hydra's launcher would end in a traceback."""
    slurm = any(word.rpartition("launcher=")[2] in ("slurm", "submitit_slurm") for word in words)
    if slurm and {"-m", "--multirun"} & {*words} and shutil.which("srun") is None:
        raise NotInstalledError(
            "+launcher=slurm needs SLURM's srun and sbatch, and this machine has none; give the command on a login "
            "node of the cluster, or leave +launcher=slurm out: the jobs then run here, in turn"
        )


def _no_flags(rest: Sequence[str]) -> None:
    if flag := next((word for word in rest if word.startswith("-")), None):
        raise ConfigurationError(
            f"{flag} beside --json; give Hydra's own flags with json=true (json=true {flag})"
        )


@contextlib.contextmanager
def _environment(value: str | None) -> Iterator[None]:
    """``HYDRA_FULL_ERROR`` as given, for a while."""
    before = os.environ.pop(_FULL, None)
    os.environ.update({} if value is None else {_FULL: value})
    try:
        yield
    finally:
        os.environ.pop(_FULL, None)
        os.environ.update({} if before is None else {_FULL: before})
