"""The entry point of a command, made of a function of its composed configuration."""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path

import hydra
from hydra.core.config_store import ConfigStore
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from reflow.cli.explain import CONFIGURATION, Command, ConfigurationError, check_schema, explain
from reflow.cli.launchers import check_launcher, of_slurm
from reflow.cli.targets import callbacks_checked
from reflow.config_path import CONFIG_DIR
from reflow.ending import ending, in_words
from reflow.notices import note
from reflow.quiet import hush

_FULL = "HYDRA_FULL_ERROR"
OmegaConf.register_new_resolver(  # in --help
    "choices", lambda group: "|".join(sorted(file.stem for file in Path(CONFIG_DIR, group).glob("*.yaml")))
)
_commands: dict[str, Command] = {}


def command(
    name: str,
    schema: type,
    *,
    renamed: Mapping[str, str] | None = None,
    aliases: Mapping[str, str] | None = None,
) -> Callable[[Callable[[DictConfig], int | None]], Callable[[], None]]:
    """Makes the entry point of a function of a composed configuration.

    Args:
        name: of its file in ``conf/``, which begins with ``defaults: [NAME_schema, base, ...]``.
        schema: a dataclass (:mod:`reflow.schema`). With a key ``json`` the command takes ``--json``.
        renamed: keys that are no more, each with what to do instead.
        aliases: keys of another name today and the same meaning.

    Returns:
        A decorator. The entry point exits with what the function returns (None: 0), or as :mod:`reflow.ending` says.
    """
    ConfigStore.instance().store(f"{name}_schema", schema)
    this = _commands[name] = Command(name, schema, renamed or {}, aliases or {})

    def decorate(run: Callable[[DictConfig], int | None]) -> Callable[[], None]:
        @functools.wraps(run)
        def main() -> None:
            asked, codes = os.environ.get(_FULL), [0]
            sys.argv = [sys.argv[0], *_without_choice(_by_todays_names(this, sys.argv[1:]))]

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
                check_launcher(rest)
                if flag.json:
                    _no_flags(rest)
                    job(composed(name, *rest, "json=true"))
                else:
                    # _FULL, or Hydra prints errors in its own words, and exits with 1.
                    with _environment("1"), callbacks_checked():
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
    except CONFIGURATION as error:
        raise ConfigurationError(explain(error, _commands[name], overrides)) from error
    check_schema(_commands[name], config, overrides)
    return config


def overrides() -> list[str]:
    """What the user said on the command line beside the flags."""
    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def sweeping() -> bool:
    """Whether this is one job of several (``-m``)."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _ending(this: Command, as_json: bool) -> contextlib.AbstractContextManager[None]:
    def words(error: BaseException) -> str | None:
        if isinstance(error, CONFIGURATION):
            return explain(error, this, sys.argv[1:])
        return in_words(error) or of_slurm(error)

    return ending(words, as_json=as_json, full=os.environ.get(_FULL) == "1")


def _by_todays_names(this: Command, words: Sequence[str]) -> Iterator[str]:
    for word in words:
        key, equals, value = word.partition("=")
        today = this.aliases.get(key.lstrip("+"))
        if today is not None:
            note(f"{key}=... is called {today} now, and taken for that")
        yield word if today is None else f"{today}{equals}{value}"


def _without_choice(words: Iterable[str]) -> Iterator[str]:
    """``env=null`` is what people write, and what Hydra cannot read for a group: there it is ``~env``."""
    for word in words:
        group, _, value = word.partition("=")
        if value != "null" or not Path(CONFIG_DIR, group.lstrip("+")).is_dir():
            yield word
        elif not group.startswith("+"):  # else it is off already
            yield f"~{group}"


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
