"""Callbacks that measure, show and guard a distillation; Hydra puts them together (``conf/callbacks``)."""

from reflow.distill.callbacks.base import Measurement
from reflow.distill.callbacks.measure import Measure, with_probes
from reflow.distill.callbacks.progress import ProgressBar, Throughput

__all__ = ["Measure", "Measurement", "ProgressBar", "Throughput", "with_probes"]
