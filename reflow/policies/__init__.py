"""Adapters onto LeRobot's flow policies; the only place that imports ``lerobot.policies``."""

from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.folder import find_folder, load_policy, replace_folder, save_policy
from reflow.policies.processors import load_processors
from reflow.policies.registry import ADAPTERS, get_adapter
from reflow.policies.sharing import share_frozen, shares_prefix

__all__ = [
    "ADAPTERS",
    "Batch",
    "FlowPolicy",
    "find_folder",
    "get_adapter",
    "load_policy",
    "load_processors",
    "replace_folder",
    "save_policy",
    "share_frozen",
    "shares_prefix",
]
