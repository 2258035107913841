"""LeRobot data sets as Lightning batches, in an order that is a pure function of (seed, step)."""

from reflow.data.checks import check_fit, split_episodes
from reflow.data.frames import ENDPOINT, SAMPLE, VISIT, Frames
from reflow.data.looks import Looks
from reflow.data.module import LeRobotDataModule, load_metadata
from reflow.data.order import Order, StepSampler, Visit

__all__ = [
    "ENDPOINT",
    "SAMPLE",
    "VISIT",
    "Frames",
    "LeRobotDataModule",
    "Looks",
    "Order",
    "StepSampler",
    "Visit",
    "check_fit",
    "load_metadata",
    "split_episodes",
]
