"""What is measured: torchmetrics over chunks ``[*chunks, h, d]`` at native width.

Any number of leading dimensions count chunks (for clouds of chunks, observations; for motion, sequences of
executed actions at real width). Each metric is a pure function that turns tensors into sums,
another that turns sums into figures, and a thin `Metric` that keeps the sums, in float64 whatever comes in:
batches may be split and ordered in any way, and several processes add up.

Left out: the policies, the integration, the pictures. Callers bring tensors.
"""

from reflow.metrics.distribution import (
    EnergyDistance,
    MaximumMeanDiscrepancy,
    SlicedWassersteinDistance,
    VarianceRatio,
)
from reflow.metrics.endpoint import EndpointError
from reflow.metrics.intervals import wilson_interval
from reflow.metrics.modes import ModeCoverage
from reflow.metrics.motion import MotionStatistics
from reflow.metrics.padding import PaddingStatistics
from reflow.metrics.relative import relative_difference
from reflow.metrics.repadding import RepaddingDifference
from reflow.metrics.sensitivity import Sensitivity
from reflow.metrics.straightness import Straightness, StraightnessByDimension
from reflow.metrics.velocity import RelativeVelocityError, VelocityLoss
from reflow.metrics.velocity_profile import VelocityErrorProfile

__all__ = [
    "EndpointError",
    "EnergyDistance",
    "MaximumMeanDiscrepancy",
    "ModeCoverage",
    "MotionStatistics",
    "PaddingStatistics",
    "RelativeVelocityError",
    "RepaddingDifference",
    "Sensitivity",
    "SlicedWassersteinDistance",
    "Straightness",
    "StraightnessByDimension",
    "VarianceRatio",
    "VelocityErrorProfile",
    "VelocityLoss",
    "relative_difference",
    "wilson_interval",
]
