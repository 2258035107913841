"""Values that more than one command refuses before anything is loaded; keys and types are checked by the schemas."""

from __future__ import annotations

from lightning.fabric.plugins.environments import SLURMEnvironment
from omegaconf import DictConfig, OmegaConf

from reflow.cli import sweeping
from reflow.config.naming import AUTO
from reflow.errors import UserError

EXTENTS = ("real", "full")
MATMUL_PRECISIONS = ("highest", "high", "medium")


def check_least(config: DictConfig, least: int, *keys: str) -> None:
    """Rejects numbers that are too small, null passes: a default will stand there.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    for key in keys:
        value = OmegaConf.select(config, key)
        if value is not None and value < least:
            raise UserError(f"{key}={value}; allowed: {least} or more")


def check_padding(config: DictConfig) -> None:
    """Rejects answers about padding that do not exist; ``auto`` may stand for all three.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    values = {name: config.padding[name] for name in ("noise", "target", "loss")}
    for name, value in values.items():
        if value not in EXTENTS and set(values.values()) != {AUTO}:
            raise UserError(
                f"padding.{name}={value}; allowed: {' or '.join(EXTENTS)}, or {AUTO} for all three (+fix=auto)"
            )


def check_matmul_precision(config: DictConfig) -> None:
    """Rejects precisions that torch does not know.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    if config.matmul_precision not in MATMUL_PRECISIONS:
        raise UserError(
            f"matmul_precision={config.matmul_precision}; allowed: {', '.join(MATMUL_PRECISIONS)} "
            "(torch.set_float32_matmul_precision)"
        )


def check_devices(config: DictConfig) -> None:
    """Refuses several devices in a sweep, unless SLURM starts the processes.

    Raises:
        UserError: there are several, and Lightning would start them.
    """
    several = {key: config.trainer.get(key, 1) for key in ("devices", "num_nodes")}
    said = " ".join(f"trainer.{key}={value}" for key, value in several.items() if value not in (1, "1"))
    if said and sweeping() and not SLURMEnvironment.detect():
        raise UserError(
            f"{said} under --multirun: Lightning would start the whole sweep once per device; use trainer.devices=1, "
            "or one command per configuration, or +launcher=slurm hydra.launcher.tasks_per_node=... on a cluster"
        )
