"""What a student learns: one objective a file, each reading like its paper's algorithm."""

from reflow.objectives.base import Cost, Loss, Objective
from reflow.objectives.endpoint import Endpoint
from reflow.objectives.flow_matching import FlowMatching
from reflow.objectives.reflow import Reflow
from reflow.objectives.step import Step

__all__ = ["Cost", "Endpoint", "FlowMatching", "Loss", "Objective", "Reflow", "Step"]
