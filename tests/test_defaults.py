"""A default that both a class and ``conf/`` give is one and the same: whoever reads either knows what happens."""

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

from reflow.config_path import CONFIG_DIR
from reflow.evaluation.offline import OfflineSettings
from reflow.evaluation.simulator_settings import SimulatorSettings
from reflow.speed.measure import SpeedSettings
from reflow.speed.quality import QualitySettings

FILES = sorted(path.relative_to(CONFIG_DIR).as_posix() for path in Path(CONFIG_DIR).rglob("*.yaml"))


def values_of(file: str) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(Path(CONFIG_DIR, file)))


def targets(node: Any) -> Any:
    """Every section with a target, at any depth."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield node
        for value in node.values():
            yield from targets(value)


def differing(kind: Any, values: Mapping[str, Any]) -> list[str]:
    found = []
    if inspect.isclass(kind) and not getattr(kind.__init__, "__module__", "reflow.").startswith("reflow."):
        return []  # the defaults of a library's class are the library's
    for name, parameter in inspect.signature(kind).parameters.items():
        given = values.get(name)
        if parameter.default is parameter.empty or given is None or isinstance(given, str):
            continue
        default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
        if given != default:
            found.append(f"{kind.__name__}.{name}: {default} in the class, {given} in conf/")
    return found


def given_beside(file: str, target: str) -> bool:
    """Whether another file of the group gives the defaults of this class: then this one is for another use of it."""
    others = [
        values_of(other) for other in FILES if Path(other).parent == Path(file).parent and other != file
    ]
    return any(
        values.get("_target_") == target and not differing(get_object(target), values) for values in others
    )


@pytest.mark.parametrize("file", FILES)
def test_targets(file: str) -> None:
    sections = [section for section in targets(values_of(file)) if section["_target_"].startswith("reflow.")]
    assert [
        line
        for section in sections
        for line in differing(get_object(section["_target_"]), section)
        if not given_beside(file, section["_target_"])
    ] == []


@pytest.mark.parametrize(
    ("kind", "file", "section"),
    [
        (OfflineSettings, "evaluate.yaml", None),
        (SimulatorSettings, "evaluate.yaml", None),
        (SpeedSettings, "benchmark.yaml", None),
        (QualitySettings, "benchmark.yaml", "race"),
    ],
)
def test_settings(kind: type, file: str, section: str | None) -> None:
    values = values_of(file)
    assert differing(kind, values[section] if section else values) == []
