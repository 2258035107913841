"""Which adapter serves which LeRobot policy type: ours, and those that other distributions bring.

Another distribution names its adapter in an entry point of the group ``reflow.policies``, by LeRobot's type name::

    [project.entry-points."reflow.policies"]
    my_policy = "my_package.adapter:MyPolicyFlow"
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from reflow.errors import NotInstalledError, UserError
from reflow.policies.base import FlowPolicy
from reflow.policies.refused import REFUSED

GROUP = "reflow.policies"


@dataclass(frozen=True)
class Own:
    """An adapter of this package; imported when it is asked for.

    Attributes:
        adapter: module and class, ``module:Class``, under ``reflow.policies``.
        extra: of reflow, that installs what LeRobot's policy needs.
        packages: by the names they are imported by.
    """

    adapter: str
    extra: str | None = None
    packages: tuple[str, ...] = ()


_OWN = {
    "pi0": Own("pi:Pi0Flow", "pi"),
    "pi05": Own("pi:Pi05Flow", "pi"),
    "groot": Own("groot:GrootFlow", "groot", ("diffusers", "tree", "timm")),
    "smolvla": Own("smolvla:SmolVLAFlow"),
    "eo1": Own("eo1:EO1Flow", "eo1", ("qwen_vl_utils",)),
    "evo1": Own("evo1:Evo1Flow", "evo1"),
    "xvla": Own("xvla:XVLAFlow", "xvla"),
    "multi_task_dit": Own("multi_task_dit:MultiTaskDiTFlow", "multi_task_dit", ("diffusers",)),
    "vla_jepa": Own("vla_jepa:VLAJEPAFlow", "vla_jepa", ("diffusers", "qwen_vl_utils")),
}


def policy_types() -> list[str]:
    """LeRobot's names of all policies that can be distilled here."""
    return sorted({*_OWN, *(entry.name for entry in entry_points(group=GROUP))})


def get_adapter(policy_type: str) -> type[FlowPolicy[Any]]:
    """The adapter class for LeRobot's ``policy_type``; one of another distribution comes before ours.

    Raises:
        UserError: no adapter serves this type, or what is registered is none.
        NotInstalledError: a package is missing that LeRobot's policy needs.
    """
    for entry in entry_points(group=GROUP, name=policy_type):
        adapter = entry.load()
        if not (isinstance(adapter, type) and issubclass(adapter, FlowPolicy)):
            raise UserError(
                f"entry point {entry.name} = {entry.value} of the group {GROUP} is {adapter!r}; allowed: a class "
                "derived from reflow.policies.FlowPolicy"
            )
        return adapter
    if policy_type in REFUSED:
        raise UserError(
            f"policy type {policy_type!r} cannot be distilled: {REFUSED[policy_type]}. reflow distills "
            f"{', '.join(policy_types())}"
        )
    if policy_type not in _OWN:
        raise UserError(
            f"policy type {policy_type!r} has no adapter; reflow distills {policy_types()}. "
            "Point teacher.path to such a policy, or write an adapter (CONTRIBUTING.md says how)"
        )
    own = _OWN[policy_type]
    missing = [package for package in own.packages if importlib.util.find_spec(package) is None]
    if missing:
        raise NotInstalledError(
            f"a policy of type {policy_type} needs {', '.join(missing)}, not installed: pip install "
            f"'reflow[{own.extra}]'"
        )
    module, _, name = own.adapter.partition(":")
    return getattr(importlib.import_module(f"reflow.policies.{module}"), name)
