"""A scripted demonstrator with two ways to pick up the cube: the left arm does it, or the right one.

From one and the same first observation a fair coin decides which arm moves; the other stays at its start
pose. The average of the two ways is no way at all: both arms stop half way. That is what a one-step student
must not learn.

All timing is fixed and a plan depends on nothing but the cube's pose and the arm, so the coin is the only
thing a policy cannot see.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, get_args

import numpy as np

from reflow.demo.kinematics import ArmKinematics, TipPose
from reflow.demo.scene import STATE_DIM
from reflow.errors import UserError

Arm = Literal["left", "right"]
ARMS: tuple[Arm, ...] = get_args(Arm)
EPISODE_STEPS = 100  # control steps at 50 Hz
START_JOINTS = np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0])  # rad, gym-aloha's START_ARM_POSE without fingers
START_GRIPPER = (0.02239 - 0.01844) / (0.05800 - 0.01844)  # the same pose's finger position, normalized
_ARM_SLICE = {"left": slice(0, 7), "right": slice(7, 14)}

PITCH = 1.2  # rad below the horizon: of those both arms reach, the one with the widest tolerance
CUBE_REST_HEIGHT = 0.02  # m, centre of the cube on the table
GRASP_ABOVE = 0.015  # m from the cube's centre to the tip point: the fingers then end at the table
HOVER_ABOVE, LIFT_ABOVE = 0.08, 0.10  # m above the grasp
_OPEN, _CLOSED = 1.0, 0.0
_AT_HOVER, _AT_GRASP, _AT_CLOSED, _AT_LIFTED = 32, 54, 68, 88  # control steps at which each move ends


@dataclass(frozen=True)
class Perturbation:
    """A smooth push on the executed command, as in DART (Laskey et al. 2017).

    The label stays the clean command: the state drifts off the plan, the recorded action leads back to it.

    Attributes:
        share: Share of the episodes that get one, 0 to 1.
        size: Largest displacement of a joint in rad.
        start: First control step of the push.
        end: Control step by which it is over; keep it before the grasp.
    """

    share: float = 0.3
    size: float = 0.06
    start: int = 4
    end: int = 44

    def __post_init__(self) -> None:
        if not 0.0 <= self.share <= 1.0:
            raise UserError(f"Perturbation.share={self.share} must lie in [0, 1]; 0 switches it off.")
        if not self.size >= 0.0:
            raise UserError(f"Perturbation.size={self.size} must be 0 rad or more.")
        if not 0 <= self.start < self.end <= EPISODE_STEPS:
            raise UserError(
                f"Perturbation.start={self.start}, end={self.end}: need 0 <= start < end <= {EPISODE_STEPS}."
            )

    def draw(self, seed: int, arm: Arm) -> np.ndarray:
        """The push of this episode.

        Args:
            seed: The episode's seed.
            arm: The arm that moves; the other one is never pushed.

        Returns:
            (100, 14) rad to add to the commands; all zeros in `1 - share` of the episodes.
        """
        push = np.zeros((EPISODE_STEPS, STATE_DIM))
        rng = np.random.default_rng([seed, 1])
        if rng.random() >= self.share:
            return push
        joints = rng.uniform(-self.size, self.size, 6)
        joints[3] = 0.0  # forearm_roll stays at zero in every plan
        phase = np.linspace(0.0, np.pi, self.end - self.start)
        push[self.start : self.end, _ARM_SLICE[arm]][:, :6] = np.sin(phase)[:, None] ** 2 * joints
        return push


def toss(seed: int) -> Arm:
    """The fair coin: which arm picks in the episode of this seed, independent of where its cube lies."""
    return ARMS[int(np.random.default_rng([seed, 0]).integers(2))]


def minimum_jerk(start: np.ndarray, end: np.ndarray, steps: int) -> np.ndarray:
    """Moves from rest to rest with the least jerk (Flash and Hogan 1985).

    Args:
        start: (D,) where the move starts; not part of the result.
        end: (D,) where it ends; the last row of the result.
        steps: Number of rows, 1 or more.

    Returns:
        (steps, D).
    """
    time = np.arange(1, steps + 1)[:, None] / steps
    return start + (10 * time**3 - 15 * time**4 + 6 * time**5) * (end - start)


class Demonstrator:
    """Plans a whole episode of commands from the cube's pose.

    Args:
        model: The `mujoco.MjModel` of the scene, `scene.physics.model.ptr`.
    """

    def __init__(self, model: Any) -> None:
        self._arms = {arm: ArmKinematics(model, arm, START_JOINTS) for arm in ARMS}

    def plan(self, cube_pose: np.ndarray, arm: Arm) -> np.ndarray:
        """Hover above the cube, go down, close, lift, hold.

        Args:
            cube_pose: (7,) start pose of the cube; position in m, unturned.
            arm: Which arm picks.

        Returns:
            (100, 14) float64, absolute joint angles in rad and normalized grippers, left arm first.

        Raises:
            UserError: There is no such arm, or the cube is out of its reach.
        """
        if arm not in self._arms:
            raise UserError(f"arm={arm!r} must be one of {ARMS}.")
        grasp = np.array([cube_pose[0], cube_pose[1], CUBE_REST_HEIGHT + GRASP_ABOVE])
        hover, down, lifted = (
            self._arms[arm].solve(TipPose(grasp + np.array([0.0, 0.0, above]), PITCH))
            for above in (HOVER_ABOVE, 0.0, LIFT_ABOVE)
        )
        knots = [
            (0, np.append(START_JOINTS, START_GRIPPER)),
            (_AT_HOVER, np.append(hover, _OPEN)),
            (_AT_GRASP, np.append(down, _OPEN)),
            (_AT_CLOSED, np.append(down, _CLOSED)),
            (_AT_LIFTED, np.append(lifted, _CLOSED)),
            (EPISODE_STEPS, np.append(lifted, _CLOSED)),
        ]
        commands = np.tile(np.append(START_JOINTS, START_GRIPPER), (EPISODE_STEPS, 2))
        for (begin, start), (finish, end) in pairwise(knots):
            commands[begin:finish, _ARM_SLICE[arm]] = minimum_jerk(start, end, finish - begin)
        return commands
