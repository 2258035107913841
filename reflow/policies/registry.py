"""Which adapter serves which LeRobot policy type: ours, and those that other distributions bring.

Another distribution names its adapter in an entry point of the group ``reflow.policies``, by LeRobot's type name::

    [project.entry-points."reflow.policies"]
    my_policy = "my_package.adapter:MyPolicyFlow"
"""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Any

from reflow.errors import UserError
from reflow.policies.base import FlowPolicy
from reflow.policies.sizes import PolicySize
from reflow.policies.smolvla import SmolVLAFlow
from reflow.policies.smolvla.sizes import SIZES as _SMOLVLA_SIZES

GROUP = "reflow.policies"
_OWN: dict[str, type[FlowPolicy[Any]]] = {"smolvla": SmolVLAFlow}
SIZES: dict[str, PolicySize] = {**_SMOLVLA_SIZES}
"""Policies that can be made with random weights, by name."""


def policy_types() -> list[str]:
    """LeRobot's names of all policies that can be distilled here."""
    return sorted({*_OWN, *(entry.name for entry in entry_points(group=GROUP))})


def get_adapter(policy_type: str) -> type[FlowPolicy[Any]]:
    """The adapter class for LeRobot's ``policy_type``; one of another distribution comes before ours.

    Raises:
        UserError: no adapter serves this type, or what is registered is none.
    """
    for entry in entry_points(group=GROUP, name=policy_type):
        adapter = entry.load()
        if not (isinstance(adapter, type) and issubclass(adapter, FlowPolicy)):
            raise UserError(
                f"entry point {entry.name} = {entry.value} of the group {GROUP} is {adapter!r}; allowed: a class "
                "derived from reflow.policies.FlowPolicy"
            )
        return adapter
    if policy_type not in _OWN:
        raise UserError(
            f"policy type {policy_type!r} has no adapter; reflow distills {policy_types()}. "
            "Point teacher.path to such a policy, or write an adapter (CONTRIBUTING.md says how)"
        )
    return _OWN[policy_type]
