"""What is measured of policies on held-out observations, once for all who ask.

Three things: an observation set (:class:`Observations`), a list of probes (:class:`Probe`), a dictionary of figures
(:class:`Figures`). Training, ``reflow.evaluate`` and the doctor choose the probes; a figure of one name is one value.
Left out: distances between chunks (``reflow.metrics``), the pages that show figures (``reflow.reports``).
"""

from reflow.probes.distributions import Distributions
from reflow.probes.endpoints import EndpointErrors
from reflow.probes.fan import FlowOfOneObservation
from reflow.probes.figures import Figures
from reflow.probes.motion import Motion
from reflow.probes.observations import Observations, Observed, Purpose
from reflow.probes.padding import PaddingAsDeployed
from reflow.probes.physical import PhysicalErrors
from reflow.probes.probe import Probe, measure
from reflow.probes.straightness import StraightnessOfFlows
from reflow.probes.supervision import PaddingSupervision
from reflow.probes.velocity import VelocityErrors

__all__ = [
    "Distributions",
    "EndpointErrors",
    "Figures",
    "FlowOfOneObservation",
    "Motion",
    "Observations",
    "Observed",
    "PaddingAsDeployed",
    "PaddingSupervision",
    "PhysicalErrors",
    "Probe",
    "Purpose",
    "StraightnessOfFlows",
    "VelocityErrors",
    "measure",
]
