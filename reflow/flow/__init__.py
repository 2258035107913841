"""Mathematics of flow matching and reflow: pure functions and small frozen objects, torch (and numpy) alone.

Nothing here knows a policy, a data set, a trainer or a configuration file.

Shapes, everywhere in the package: ``b`` batch, ``k`` draws per observation, ``h`` chunk step, ``d`` native
width (``max_action_dim``), ``a`` real width (``action_dim``). A starred letter stands for any number of
dimensions: ``*b`` is ``b`` or ``b k``.
"""

from reflow.flow.coupling import Coupling, couple, give
from reflow.flow.distance import SQUARED, Distance, InverseWeighted, PseudoHuber, Squared
from reflow.flow.loss import Reduction, velocity_loss
from reflow.flow.padding import ActionSpace, Extent, PaddingRule
from reflow.flow.path import PathSample, straight_path
from reflow.flow.random import Draws, draw_identities
from reflow.flow.solvers import (
    EULER,
    HEUN,
    MIDPOINT,
    RK4,
    SOLVERS,
    Integration,
    Solver,
    Trajectory,
    Velocity,
    get_solver,
    integrate,
    trajectory,
)
from reflow.flow.time import (
    BetaTime,
    EndpointTime,
    GridTime,
    LogitNormalTime,
    TimeSampler,
    UniformTime,
    UShapedTime,
)

__all__ = [
    "EULER",
    "HEUN",
    "MIDPOINT",
    "RK4",
    "SOLVERS",
    "SQUARED",
    "ActionSpace",
    "BetaTime",
    "Coupling",
    "Distance",
    "Draws",
    "EndpointTime",
    "Extent",
    "GridTime",
    "Integration",
    "InverseWeighted",
    "LogitNormalTime",
    "PaddingRule",
    "PathSample",
    "PseudoHuber",
    "Reduction",
    "Solver",
    "Squared",
    "TimeSampler",
    "Trajectory",
    "UShapedTime",
    "UniformTime",
    "Velocity",
    "couple",
    "draw_identities",
    "get_solver",
    "give",
    "integrate",
    "straight_path",
    "trajectory",
    "velocity_loss",
]
