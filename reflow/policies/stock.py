"""The one door to what LeRobot announces to change: its processors, factories and migration of old policies.

Whatever of these is used here is imported from this file, so that a LeRobot which moved them is followed in one
place. Left out: the base classes and constants of LeRobot, which stay where they are.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.metadata
import inspect
import json
import tempfile
import typing
from pathlib import Path
from typing import Any

from lerobot.configs import FeatureType, NormalizationMode, PreTrainedConfig
from lerobot.policies.factory import get_policy_class, make_pre_post_processors
from lerobot.processor import (
    DataProcessorPipeline,
    NormalizerProcessorStep,
    ProcessorStepRegistry,
    UnnormalizerProcessorStep,
)
from lerobot.processor.migrate_policy_normalization import (
    extract_normalization_stats,
    remove_normalization_layers,
)
from lerobot.utils.import_utils import register_third_party_plugins

from reflow.policies.hub_code import forbid_hub_code
from reflow.quiet import unprinted

__all__ = [
    "LEROBOT",
    "FeatureType",
    "NormalizationMode",
    "NormalizerProcessorStep",
    "Pipeline",
    "UnnormalizerProcessorStep",
    "config_class",
    "config_from",
    "extract_normalization_stats",
    "fields_of",
    "get_policy_class",
    "make_pre_post_processors",
    "plugins_installed",
    "read_config",
    "registered_name",
    "remove_normalization_layers",
    "step_class",
    "step_fields",
]

forbid_hub_code()  # before any of its classes is made

type Pipeline = DataProcessorPipeline[Any, Any]

LEROBOT = importlib.metadata.version("lerobot")
PLUGINS = "lerobot_policy_*, lerobot_robot_*, lerobot_camera_*, lerobot_teleoperator_* or lerobot_env_*"
"""Names of the packages that LeRobot imports by itself, so that they register what they bring."""


@functools.cache
def register_plugins() -> None:
    """Lets LeRobot import the plugins that are installed; once a process."""
    with unprinted():
        register_third_party_plugins()


def plugins_installed() -> list[str]:
    """Installed packages that LeRobot takes for plugins."""
    prefixes = tuple(part.strip(" *") for part in PLUGINS.replace(" or ", ", ").split(","))
    names = (distribution.metadata["Name"] for distribution in importlib.metadata.distributions())
    return sorted({name for name in names if name and name.startswith(prefixes)})


def config_class(policy_type: str) -> type[PreTrainedConfig] | None:
    """LeRobot's configuration class of a policy type; None where neither it nor a plugin has one."""
    if policy_type not in PreTrainedConfig.get_known_choices():
        register_plugins()
    return PreTrainedConfig.get_known_choices().get(policy_type)


def step_class(name: str) -> type | None:
    """The processor step registered under a name; None where neither LeRobot nor a plugin has one."""
    if name not in ProcessorStepRegistry.list():
        register_plugins()
    return ProcessorStepRegistry.get(name) if name in ProcessorStepRegistry.list() else None


def fields_of(kind: type) -> dict[str, type | None]:
    """Fields of a configuration class by name; with the class of those that are configurations themselves."""
    hints = typing.get_type_hints(kind)
    return {
        field.name: _dataclass_in(hints.get(field.name)) for field in dataclasses.fields(kind) if field.init
    }


def registered_name(step: Any) -> str | None:
    """The name that a processor's step is registered under."""
    return getattr(type(step), "_registry_name", None)


def step_fields(kind: type) -> set[str] | None:
    """What a step's ``config`` may hold; None for anything."""
    parameters = inspect.signature(kind).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return None
    return {parameter.name for parameter in parameters}


def read_config(folder: Path) -> PreTrainedConfig:
    """A folder's ``config.json`` as LeRobot's own configuration, plugins' types included."""
    config_class(str(json.loads((folder / "config.json").read_text(encoding="utf-8")).get("type")))
    return PreTrainedConfig.from_pretrained(folder)


def config_from(content: dict[str, Any]) -> PreTrainedConfig:
    """The same of a configuration that is in memory."""
    with tempfile.TemporaryDirectory() as scratch:
        Path(scratch, "config.json").write_text(json.dumps(content), encoding="utf-8")
        return read_config(Path(scratch))


def _dataclass_in(hint: Any) -> type | None:
    for kind in (hint, *typing.get_args(hint)):
        if isinstance(kind, type) and dataclasses.is_dataclass(kind):
            return kind
    return None
