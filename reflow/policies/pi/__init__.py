"""LeRobot's pi0 and pi05: one adapter for what the two share, and what sets each apart."""

from reflow.policies.pi.context import PiContext
from reflow.policies.pi.flow import Pi0Flow, Pi05Flow

__all__ = ["Pi0Flow", "Pi05Flow", "PiContext"]
