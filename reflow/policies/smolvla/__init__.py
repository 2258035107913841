"""LeRobot's SmolVLA: the adapter, faster velocities, and what it takes to build one from scratch."""

from reflow.policies.smolvla.context import SmolVLAContext
from reflow.policies.smolvla.faster import CompiledVelocity, SharedVelocity
from reflow.policies.smolvla.flow import SmolVLAFlow

__all__ = ["CompiledVelocity", "SharedVelocity", "SmolVLAContext", "SmolVLAFlow"]
