"""Plays one demonstration in the scene and returns it as arrays."""

from dataclasses import dataclass

import numpy as np

from reflow.demo.demonstrator import Arm, Demonstrator, Perturbation, toss
from reflow.demo.frames import shrink_frame
from reflow.demo.scene import PickScene, is_picked


@dataclass(frozen=True)
class Demonstration:
    """One episode of T = 100 control steps at 50 Hz.

    Row t of `states` and `frames` was seen before row t of `actions`; row t of `rewards` came after it.

    Attributes:
        seed: Decides cube, arm and perturbation.
        arm: The arm that picks.
        cube_pose: (7,) start pose; m and quaternion.
        perturbed: Whether the executed commands were pushed off the plan early on.
        frames: (T, 72, 96, 3) uint8, or None where nothing was rendered.
        states: (T, 14) float32 joint angles in rad, normalized grippers.
        actions: (T, 14) float32 the clean command, the label.
        rewards: (T,) int, the environment's reward after each step.
    """

    seed: int
    arm: Arm
    cube_pose: np.ndarray
    perturbed: bool
    frames: np.ndarray | None
    states: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray

    @property
    def success(self) -> bool:
        """Whether the environment saw the cube off the table for five steps in a row."""
        return is_picked(self.rewards.tolist())

    def summary(self) -> dict:
        """What `meta/demonstrations.json` says about this episode."""
        return {
            "seed": self.seed,
            "arm": self.arm,
            "cube_pose": self.cube_pose.tolist(),
            "perturbed": self.perturbed,
            "success": self.success,
            "steps": len(self.actions),
        }


def demonstrate(
    scene: PickScene,
    demonstrator: Demonstrator,
    seed: int,
    *,
    perturbation: Perturbation | None = None,
    arm: Arm | None = None,
    render: bool = True,
) -> Demonstration:
    """Plays the episode of a seed.

    Args:
        scene: The world; it is reset.
        demonstrator: Plans for this world's model.
        seed: Non-negative integer below 2**32.
        perturbation: How commands are pushed off the plan; None for the defaults.
        arm: Forces the arm; None lets the seed's coin decide.
        render: False leaves the frames out, 100 times faster.

    Returns:
        The episode, successful or not.
    """
    arm = arm or toss(seed)
    cube_pose = scene.reset(seed)
    actions = demonstrator.plan(cube_pose, arm).astype(np.float32)
    push = (perturbation or Perturbation()).draw(seed, arm)
    frames, states, rewards = [], [], []
    for action, displacement in zip(actions, push, strict=True):
        states.append(scene.state())
        if render:
            frames.append(shrink_frame(scene.render()))
        rewards.append(scene.step(action + displacement))
    return Demonstration(
        seed=seed,
        arm=arm,
        cube_pose=cube_pose,
        perturbed=bool(push.any()),
        frames=np.stack(frames) if render else None,
        states=np.stack(states).astype(np.float32),
        actions=actions,
        rewards=np.array(rewards),
    )
