"""Adapters onto LeRobot's flow policies; the only place that imports ``lerobot.policies``."""

from reflow.policies.base import Batch, FlowPolicy, Padding
from reflow.policies.belongs import check_belongs
from reflow.policies.capabilities import (
    CONTEXT,
    VELOCITY,
    VISION,
    ActionBias,
    FreezablePrefix,
    PaddingInputs,
    StockCheck,
    StockForward,
    StockTraining,
    StorablePrefix,
    VelocityWays,
    velocity_calls,
    velocity_ways,
    with_velocity,
)
from reflow.policies.find import find_folder
from reflow.policies.folder import fingerprint, load_policy, replace_folder, save_policy
from reflow.policies.groups import (
    encodes_with_gradient,
    parameter_groups,
    prefix_parameters,
    share_frozen,
    shares_prefix,
    train_groups,
)
from reflow.policies.joining import check_way, next_chunk
from reflow.policies.locate import locate
from reflow.policies.lora import low_rank_layers, merge_lora, with_lora
from reflow.policies.processors import load_processors, saved_rename
from reflow.policies.registry import get_adapter, policy_types
from reflow.policies.rtc import RTC_FLAG, is_guided, rtc_flag, rtc_hint
from reflow.policies.statistics import SavedStatistics, check_statistics, saved_statistics

__all__ = [
    "CONTEXT",
    "RTC_FLAG",
    "VELOCITY",
    "VISION",
    "ActionBias",
    "Batch",
    "FlowPolicy",
    "FreezablePrefix",
    "Padding",
    "PaddingInputs",
    "SavedStatistics",
    "StockCheck",
    "StockForward",
    "StockTraining",
    "StorablePrefix",
    "VelocityWays",
    "check_belongs",
    "check_statistics",
    "check_way",
    "encodes_with_gradient",
    "find_folder",
    "fingerprint",
    "get_adapter",
    "is_guided",
    "load_policy",
    "load_processors",
    "locate",
    "low_rank_layers",
    "merge_lora",
    "next_chunk",
    "parameter_groups",
    "policy_types",
    "prefix_parameters",
    "replace_folder",
    "rtc_flag",
    "rtc_hint",
    "save_policy",
    "saved_rename",
    "saved_statistics",
    "share_frozen",
    "shares_prefix",
    "train_groups",
    "velocity_calls",
    "velocity_ways",
    "with_lora",
    "with_velocity",
]
