"""What is wrong with a configuration, in one line of words that a user can act on."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from reflow.errors import UserError

CONFIGURATION = (HydraException, OmegaConfBaseException)
"""What Hydra and OmegaConf raise of a configuration that is wrong."""


class ConfigurationError(UserError):
    """A key that a command does not know, or a value of the wrong type."""


@dataclass(frozen=True)
class Command:
    """What a command may be told; a job of a sweep carries it to wherever it runs.

    Attributes:
        name: of its file in ``conf/``.
        schema: a dataclass (:mod:`reflow.schema`).
        renamed: keys that are no more, each with what to do instead ("is now run_dir").
        aliases: keys of another name today and the same meaning: they are taken, and that is said.
    """

    name: str
    schema: type
    renamed: Mapping[str, str]
    aliases: Mapping[str, str] = field(default_factory=dict)


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
    if isinstance(error, OverrideParseException) or text.startswith("Ambiguous value for argument"):
        return _about_grammar(error, overrides)
    if isinstance(error, MissingConfigException) and error.options:
        group, _, choice = str(error.missing_cfg_file).rpartition("/")
        hint = nearest(choice, error.options)
        return f"{group}={choice}: there is no conf/{group}/{choice}.yaml{hint} Allowed: {', '.join(error.options)}"
    if text.startswith("Multiple values for "):
        return f"{text.partition('.')[0]}: give it once, and without a plus where one is chosen already (env=pick)"
    cause = error.__cause__ if isinstance(error, HydraException) and error.__cause__ is not None else error
    if not isinstance(cause, CONFIGURATION):
        return text
    if (found := re.search(r"full_key: (\S+)", str(cause))) is None:
        return " ".join(text.split())
    return _about_key(found[1], str(cause), this, overrides)


def _about_key(key: str, what: str, this: Command, overrides: Sequence[str]) -> str:
    for old, instead in this.renamed.items():
        if key == old or key.startswith(f"{old}."):
            return f"{old}=... {instead}"
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
        f"configuration key {given.lstrip('+')}: there is no such key{nearest(last, allowed)} "
        f"Keys {where}: {', '.join(entry for entry in allowed if not entry.startswith('_'))}"
    )


def _about_grammar(error: BaseException, overrides: Sequence[str]) -> str:
    """Blanks, commas and the like in a value: the same override once more, quoted so that shell and Hydra take it."""
    if isinstance(error, OverrideParseException):
        given = str(error.override)
    else:  # several values without a sweep: Hydra says them in words alone
        given = str(error).partition("'")[2].partition("'\n")[0]
    if "=" not in given:  # the end of a value that the shell has cut at a blank
        place = list(overrides).index(given) if given in overrides else 0
        before = overrides[place - 1] if place else "key=..."
        whole = _quoted(f"{before} {given}")
        return f"{given}: neither key=value nor a flag; a value with blanks goes in quotes: {whole}"
    several = " (or, for several values in turn, -m)" if "," in given else ""
    return f"{given}: Hydra reads its value otherwise; quote it for Hydra and the shell: {_quoted(given)}{several}"


def _quoted(override: str) -> str:
    key, _, value = override.partition("=")
    inner = value.strip("'\"").replace("'", "\\'")
    return '"' + f"{key}='{inner}'".replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def nearest(word: str, allowed: Sequence[str]) -> str:
    """The end of a sentence about a word that is not known, with the one that was probably meant."""
    close = difflib.get_close_matches(word, allowed, n=1)
    return f"; did you mean {close[0]}?" if close else "."
