"""Which adapter serves which LeRobot policy type. A new policy is one file and one line here."""

from __future__ import annotations

from reflow.policies.base import FlowPolicy
from reflow.policies.smolvla import SmolVLAFlow

ADAPTERS: dict[str, type[FlowPolicy]] = {"smolvla": SmolVLAFlow}


def get_adapter(policy_type: str) -> type[FlowPolicy]:
    """The adapter class for LeRobot's ``policy_type``.

    Raises:
        ValueError: no adapter serves this type.
    """
    if policy_type not in ADAPTERS:
        raise ValueError(
            f"policy type {policy_type!r} has no adapter; reflow distills {sorted(ADAPTERS)}. "
            "Point teacher.path to such a policy, or write an adapter (CONTRIBUTING.md says how)"
        )
    return ADAPTERS[policy_type]
