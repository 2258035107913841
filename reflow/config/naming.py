"""What a configuration is called: its fix, and the folder of its run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

AUTO = "auto"


def run_directory(config: DictConfig, overrides: list[str]) -> Path:
    """The run's folder, a function of its configuration: the same command finds it again.

    Args:
        config: the composed configuration.
        overrides: the command's own overrides.

    Returns:
        ``run_dir`` where given; else ``outputs/<name>`` for the recommended padding rule (all full), and
        ``outputs/<name>-<rule>-<other overrides>`` for anything else.
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
    # No "," and no "=": the path is itself an argument of later commands.
    slug = "".join(c if c.isalnum() or c in "._-" else "_" for c in "-".join(parts))
    return Path("outputs", f"{config.name}-{slug}" if slug else config.name).resolve()


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
