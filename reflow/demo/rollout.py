"""Demonstrations: the script plays in the demo's environment, and what it saw and meant is kept as arrays."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from reflow.demo.demonstrator import EPISODE_STEPS, Arm, Demonstrator, Perturbation, toss
from reflow.demo.frames import shrink_frame
from reflow.demo.scene import CubeRange
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.workers import in_order, run_jobs


@dataclass(frozen=True)
class Demonstration:
    """One episode of T = 100 control steps at 50 Hz.

    Row t of `states` and `frames` was seen before row t of `actions`.

    Attributes:
        seed: Decides cube, arm and perturbation.
        arm: The arm that picks.
        cube_pose: (7,) start pose; m and quaternion.
        perturbed: Whether the executed commands were pushed off the plan early on.
        success: Whether the environment saw the cube off the table for five steps in a row.
        frames: (T, 72, 96, 3) uint8, or None where nothing was rendered.
        states: (T, 14) float32 joint angles in rad, normalized grippers.
        actions: (T, 14) float32 the clean command, the label.
    """

    seed: int
    arm: Arm
    cube_pose: np.ndarray
    perturbed: bool
    success: bool
    frames: np.ndarray | None
    states: np.ndarray
    actions: np.ndarray

    def summary(self) -> dict[str, Any]:
        """What `meta/demonstrations.json` says about this episode."""
        return {
            "seed": self.seed,
            "arm": self.arm,
            "cube_pose": self.cube_pose.tolist(),
            "perturbed": self.perturbed,
            "success": self.success,
            "steps": len(self.actions),
        }


@dataclass(frozen=True)
class _Script:
    """Plays fixed commands, whatever it sees.

    Attributes:
        name: The arm that picks.
        commands: (T, 14) float64.
    """

    name: str
    commands: np.ndarray
    num_steps: int = 0

    def start(self, seed: int) -> None:
        """Remembers nothing."""

    def act(self, seen: dict[str, Any], task: str) -> list[np.ndarray]:
        """The whole episode."""
        return list(self.commands)


class Stage:
    """The demo's environment, in which the script goes on after the pick, to the end of its plan.

    Args:
        cube: Where the cube may start; None for the default.
        perturbation: How executed commands are pushed off the plan; None for the default.
    """

    def __init__(self, cube: CubeRange | None = None, perturbation: Perturbation | None = None) -> None:
        self._cube, self._perturbation = cube or CubeRange(), perturbation or Perturbation()
        fields = {"episode_length": EPISODE_STEPS, "cube_x": self._cube.x, "cube_y": self._cube.y}
        self._player = Player(Conditions(EnvironmentSettings("pick", fields)))
        env = self._player.env.envs[0].unwrapped
        env.ends_with_pick = False
        self._demonstrator = Demonstrator(env.scene.physics.model.ptr)

    def demonstrate(self, seed: int, *, render: bool = True) -> Demonstration:
        """Plays the episode of a seed.

        Args:
            seed: Non-negative integer below 2**32.
            render: False leaves the frames out, 100 times faster.

        Returns:
            The episode, successful or not.
        """
        arm, pose = toss(seed), self._cube.sample(seed)
        labels = self._demonstrator.plan(pose, arm).astype(np.float32)
        push = self._perturbation.draw(seed, arm)
        states, frames = [], []

        def watch(now: Moment) -> None:
            states.append(now.blind["agent_pos"][0].copy())
            if render:
                frames.append(shrink_frame(now.frame()))

        episode, _ = self._player.follow(_Script(arm, labels + push), seed, watch)
        return Demonstration(
            seed=seed,
            arm=arm,
            cube_pose=pose,
            perturbed=bool(push.any()),
            success=episode.success,
            frames=np.stack(frames) if render else None,
            states=np.stack(states).astype(np.float32),
            actions=labels,
        )


def play(
    seeds: Sequence[int], processes: int, cube: CubeRange, perturbation: Perturbation
) -> Generator[Demonstration]:
    """Plays the episodes of the given seeds in worker processes.

    Args:
        seeds: One episode each.
        processes: Number of worker processes, 1 or more.
        cube: Where the cube may start.
        perturbation: How executed commands are pushed off the plan.

    Yields:
        Every episode, successful or not, in the order of `seeds`, whatever the number of processes. Close the
        generator to stop early.

    Raises:
        RuntimeError: Nothing can be rendered on this machine.
    """
    return in_order(run_jobs(partial(_open_stage, cube, perturbation), seeds, processes), seeds)


def _open_stage(cube: CubeRange, perturbation: Perturbation) -> Any:
    return Stage(cube, perturbation).demonstrate
