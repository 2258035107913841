"""Adapters onto LeRobot's flow policies; the only place that imports ``lerobot.policies``."""

from reflow.policies.base import CONTEXT, VISION, Batch, FlowPolicy, VelocityBy
from reflow.policies.belongs import check_belongs
from reflow.policies.folder import find_folder, fingerprint, load_policy, replace_folder, save_policy
from reflow.policies.processors import load_processors
from reflow.policies.registry import ADAPTERS, get_adapter
from reflow.policies.sharing import share_frozen, shares_prefix
from reflow.policies.statistics import SavedStatistics, saved_statistics

__all__ = [
    "ADAPTERS",
    "CONTEXT",
    "VISION",
    "Batch",
    "FlowPolicy",
    "SavedStatistics",
    "VelocityBy",
    "check_belongs",
    "find_folder",
    "fingerprint",
    "get_adapter",
    "load_policy",
    "load_processors",
    "replace_folder",
    "save_policy",
    "saved_statistics",
    "share_frozen",
    "shares_prefix",
]
