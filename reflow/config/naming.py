"""What a configuration is called: its fix, and the folder of its run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

AUTO = "auto"
LONGEST, SHORTENED = (
    255,
    120,
)  # bytes: of a file's name on usual file systems, and of one that would be longer
_SAYS_NOTHING = frozenset({"pretrained_model", "checkpoints", "last", ""})


def run_directory(config: DictConfig, overrides: list[str]) -> Path:
    """The run's folder, a function of its configuration: the same command finds it again.

    Args:
        config: the composed configuration.
        overrides: the command's own overrides.

    Returns:
        ``run_dir`` where given; else ``outputs/<name>`` for the recommended padding rule (all full), and
        ``outputs/<name>-<rule>-<other overrides>`` for anything else. A name that no file system would take is cut,
        its paths to what they end with, and ends with a digest of the whole.
    """
    if config.run_dir is not None:
        return Path(config.run_dir).resolve()
    parts = [] if padding_name(config) == "full32" else [padding_name(config)]
    silent = (
        "fix=",
        "name=",
        "run_dir=",
        "experiment=",
        "hydra",
        "pairs.path=",
        "env=",
        "env.",
        "simulator.",
    )
    rest = [override.lstrip("+") for override in overrides]
    parts += sorted(override for override in rest if not override.startswith(silent))
    whole = _name(str(config.name), parts)
    if len(whole.encode()) > LONGEST:
        digest = hashlib.sha256("\0".join([str(config.name), *parts]).encode()).hexdigest()[:10]
        short = _name(str(config.name), [_without_folders(part) for part in parts]).encode()
        whole = f"{short[: SHORTENED - len(digest) - 1].decode(errors='ignore')}-{digest}"
    return Path("outputs", whole).resolve()


def _name(name: str, parts: list[str]) -> str:
    # No "," and no "=": the path is itself an argument of later commands.
    slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in "-".join(parts))
    return f"{name}-{slug}" if slug else name


def _without_folders(override: str) -> str:
    """An override whose value is a path, with the last two parts of it that say something."""
    key, equals, value = override.partition("=")
    telling = [part for part in value.split("/") if part not in _SAYS_NOTHING and not part.isdigit()]
    return f"{key}{equals}{'/'.join(telling[-2:])}" if "/" in value else override


def padding_name(config: Mapping[str, Any] | DictConfig) -> str:
    """The fix that these padding settings amount to, as ``conf/fix`` names it."""
    padding = config["padding"]
    if padding["noise"] == AUTO:
        return AUTO
    if padding["inert"]:
        return "valid14"
    full = [name for name in ("noise", "target", "loss") if padding[name] == "full"]
    names = {"noise": "full_noise", "target": "keep_target", "loss": "full_loss"}
    if len(full) == 3:
        return "full32"
    return "+".join(names[name] for name in full) or "unfixed"
