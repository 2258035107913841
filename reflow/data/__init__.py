"""LeRobot data sets as Lightning batches, in an order that is a pure function of (seed, step)."""

from reflow.data.agree import check_sources
from reflow.data.checks import check_fit
from reflow.data.content import data_content
from reflow.data.frames import ENDPOINT, SAMPLE, VISIT, Frames
from reflow.data.looks import Looks
from reflow.data.mixed import Mixed, MixedOrder
from reflow.data.module import LeRobotDataModule
from reflow.data.opened import OpenSource, content_of, open_sources, samples_of
from reflow.data.opening import load_metadata
from reflow.data.order import Order, StepSampler, Visit
from reflow.data.sources import Source, sources_of
from reflow.data.split import split_episodes

__all__ = [
    "ENDPOINT",
    "SAMPLE",
    "VISIT",
    "Frames",
    "LeRobotDataModule",
    "Looks",
    "Mixed",
    "MixedOrder",
    "OpenSource",
    "Order",
    "Source",
    "StepSampler",
    "Visit",
    "check_fit",
    "check_sources",
    "content_of",
    "data_content",
    "load_metadata",
    "open_sources",
    "samples_of",
    "sources_of",
    "split_episodes",
]
