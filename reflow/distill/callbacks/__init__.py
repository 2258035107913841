"""Callbacks that measure, show and guard a distillation; Hydra puts them together (``conf/callbacks``)."""

from reflow.distill.callbacks.base import Measurement
from reflow.distill.callbacks.deploy import DeployGap
from reflow.distill.callbacks.endpoints import EndpointErrors
from reflow.distill.callbacks.fan import FlowOfOneObservation
from reflow.distill.callbacks.padding import PaddingStatistics
from reflow.distill.callbacks.progress import ProgressBar, Throughput
from reflow.distill.callbacks.straightness import StraightnessOfFlow

__all__ = [
    "DeployGap",
    "EndpointErrors",
    "FlowOfOneObservation",
    "Measurement",
    "PaddingStatistics",
    "ProgressBar",
    "StraightnessOfFlow",
    "Throughput",
]
