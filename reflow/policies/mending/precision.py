"""A policy that LeRobot runs in 16 bits, while here it runs in 32: nothing is changed, but it has to be known."""

from __future__ import annotations

from collections.abc import Iterator

from reflow.policies.files import CONFIG, PolicyFiles
from reflow.policies.registry import get_adapter

_FIELD = "dtype"


def doubt_precision(files: PolicyFiles) -> Iterator[str]:
    """Says so where a policy is run in another precision than its configuration asks for."""
    ours = get_adapter(str(files.config.get("type"))).runtime.get(_FIELD)
    theirs = files.config.get(_FIELD)
    if ours is not None and theirs is not None and theirs != ours:
        files.doubts.append(
            f"{files.folder / CONFIG} says {_FIELD}={theirs}, and so LeRobot runs the policy; here it is measured "
            f"and trained in {ours}, and a student is saved in {ours}, to be run in {theirs}: expect a hundredth of "
            f"difference in its actions, or set {_FIELD} to {ours}"
        )
    yield from ()
