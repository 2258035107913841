"""Inverse kinematics of one ALOHA arm: damped least squares on MuJoCo's own Jacobian.

Four joints carry the task (waist, shoulder, elbow, wrist_angle): three for the position of the finger tips,
one for the pitch of the gripper. `forearm_roll`, whose simulated motor is weak, stays at zero;
`wrist_rotate` turns the fingers so that they close along the world's y axis, square to an unturned cube.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from reflow.errors import UserError

TIP_AHEAD = 0.11  # m from gripper_link along its x axis to the point between the finger tips
ARM_JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
_MOVED = (0, 1, 2, 4)  # indices into ARM_JOINTS that the solver moves
_ROTATE = 5
_DAMPING = 1e-2
_TOLERANCE = 1e-5  # m and rad
_MAX_ITERATIONS = 300
_MAX_STEP = 0.2  # rad, per iteration and joint


@dataclass(frozen=True)
class TipPose:
    """Where the finger tips are to be.

    Attributes:
        position: (3,) m, in the world.
        pitch: Angle of the gripper below the horizon in rad; pi/2 points straight down.
    """

    position: np.ndarray
    pitch: float


class ArmKinematics:
    """Solves for the joints of one arm in a scratch copy of the world; never touches the simulation.

    Args:
        model: The `mujoco.MjModel` of the scene.
        arm: "left" or "right".
        rest: (6,) rad, joint angles from which every solve starts, so that a pose has one answer.
    """

    def __init__(self, model: Any, arm: str, rest: np.ndarray) -> None:
        import mujoco

        self._mj, self._model, self._data = mujoco, model, mujoco.MjData(model)
        self._body = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_BODY, f"vx300s_{arm}/gripper_link")
        joints = [
            mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, f"vx300s_{arm}/{name}") for name in ARM_JOINTS
        ]
        self._qpos = model.jnt_qposadr[joints]
        self._dofs = model.jnt_dofadr[joints]
        self._limits = model.jnt_range[joints]
        self._rest = np.array(rest, dtype=float)
        self.arm = arm

    def tip(self, joints: np.ndarray) -> TipPose:
        """Forward kinematics: the tips' pose for (6,) joint angles in rad."""
        self._place(joints)
        return TipPose(self._tip_position(), self._pitch())

    def solve(self, goal: TipPose) -> np.ndarray:
        """Finds the joint angles that bring the finger tips to a pose.

        Args:
            goal: Position in m and pitch in rad.

        Returns:
            (6,) rad.

        Raises:
            UserError: The pose is out of this arm's reach.
        """
        joints = self._rest.copy()
        moved = list(_MOVED)
        for _ in range(_MAX_ITERATIONS):
            self._place(joints)
            error = np.append(goal.position - self._tip_position(), goal.pitch - self._pitch())
            if np.abs(error).max() < _TOLERANCE:
                joints[_ROTATE] = self._squaring_turn(joints)
                return joints
            jacobian = self._jacobian()[:, moved]
            step = np.linalg.solve(
                jacobian.T @ jacobian + _DAMPING**2 * np.eye(len(moved)), jacobian.T @ error
            )
            joints[moved] += np.clip(step, -_MAX_STEP, _MAX_STEP)
            joints = np.clip(joints, self._limits[:, 0], self._limits[:, 1])
        raise UserError(
            f"{self.arm} arm cannot bring its finger tips to {np.round(goal.position, 3).tolist()} m at "
            f"pitch {goal.pitch:.2f} rad (error {np.abs(error).max():.3f}); move the cube range towards it."
        )

    def _place(self, joints: np.ndarray) -> None:
        self._data.qpos[self._qpos] = joints
        self._mj.mj_kinematics(self._model, self._data)
        self._mj.mj_comPos(self._model, self._data)

    def _axes(self) -> np.ndarray:
        return self._data.xmat[self._body].reshape(3, 3)

    def _tip_position(self) -> np.ndarray:
        return self._data.xpos[self._body] + TIP_AHEAD * self._axes()[:, 0]

    def _pitch(self) -> float:
        forward = self._axes()[:, 0]
        return float(np.arctan2(-forward[2], np.hypot(forward[0], forward[1])))

    def _jacobian(self) -> np.ndarray:
        """(4, 6): rows x, y, z of the tips and the pitch, columns the arm's joints."""
        linear, angular = np.zeros((3, self._model.nv)), np.zeros((3, self._model.nv))
        self._mj.mj_jac(self._model, self._data, linear, angular, self._tip_position(), self._body)
        sideways = self._axes()[:, 1].copy()
        sideways[2] = 0.0
        return np.vstack([linear, sideways @ angular / np.linalg.norm(sideways)])[:, self._dofs]

    def _squaring_turn(self, joints: np.ndarray) -> float:
        """Angle of wrist_rotate in rad at which the fingers close as nearly along the world's y as can be."""
        self._place(joints)
        _, side, up = self._axes().T
        sign = 1.0 if side[1] >= 0 else -1.0  # the right arm faces the other way
        return float(joints[_ROTATE] + np.arctan2(sign * up[1], sign * side[1]))
