"""What a student learns: one objective a file, each reading like its paper's algorithm."""

from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.consistency import Consistency
from reflow.objectives.drifting import Drifting
from reflow.objectives.endpoint import Endpoint
from reflow.objectives.flow_matching import FlowMatching
from reflow.objectives.mean_flow import MeanFlow
from reflow.objectives.mip import Mip
from reflow.objectives.reflow import Reflow
from reflow.objectives.shortcut import Shortcut
from reflow.objectives.snapflow import SnapFlow
from reflow.objectives.spanned import Spanned
from reflow.objectives.step import Step

__all__ = [
    "Consistency",
    "Cost",
    "Drifting",
    "Endpoint",
    "FlowMatching",
    "Loss",
    "MeanFlow",
    "Mip",
    "Objective",
    "Reflow",
    "Shortcut",
    "SnapFlow",
    "Spanned",
    "Step",
]
