"""Demonstrations: the script plays in the demo's environment, and what it saw and meant is kept as arrays."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from reflow.data.recording import Recorded
from reflow.data.shrink import shrink_frame
from reflow.demo.dataset import BOX, CAMERA, TASK
from reflow.demo.demonstrator import EPISODE_STEPS, Demonstrator, Perturbation, toss
from reflow.demo.pick_env import pick_environment
from reflow.demo.scene import CubeRange
from reflow.simulator.actor import Conditions
from reflow.simulator.looking import Observation
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.workers import in_order, run_jobs


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
    memory: int = 0

    def start(self, seed: int) -> None:
        """Remembers nothing."""

    def act(self, seen: Sequence[Observation], task: str, left: int) -> list[np.ndarray]:
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
        self._player = Player(Conditions(pick_environment(**fields)))
        env = self._player.env.envs[0].unwrapped
        env.ends_every = EPISODE_STEPS
        self._demonstrator = Demonstrator(env.scene.physics.model.ptr)

    def demonstrate(self, seed: int, *, render: bool = True) -> Recorded:
        """Plays the episode of a seed.

        Args:
            seed: Non-negative integer below 2**32.
            render: False leaves the frames out, 100 times faster.

        Returns:
            The episode of 100 control steps, successful or not. Its states and frames were seen before its actions,
            which are the plan's, without the push; it tells arm, cube_pose (7,) and whether it was perturbed.
        """
        arm, pose = toss(seed), self._cube.sample(seed)
        labels = self._demonstrator.plan(pose, arm).astype(np.float32)
        push = self._perturbation.draw(seed, arm)
        states, frames = [], []

        def watch(now: Moment) -> None:
            states.append(now.blind["agent_pos"][0].copy())
            if render:
                frames.append(shrink_frame(now.frame(), BOX))

        episode, _ = self._player.follow(_Script(arm, labels + push), seed, watch)
        return Recorded(
            seed=seed,
            task=TASK,
            success=episode.success,
            frames={CAMERA: np.stack(frames)} if render else None,
            states=np.stack(states).astype(np.float32),
            actions=labels,
            told={"arm": arm, "cube_pose": pose.tolist(), "perturbed": bool(push.any())},
        )


def play(
    seeds: Sequence[int], processes: int, cube: CubeRange, perturbation: Perturbation
) -> Generator[Recorded]:
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
        UserError: Nothing can be rendered on this machine.
    """
    return in_order(run_jobs(partial(_open_stage, cube, perturbation), seeds, processes), seeds)


def _open_stage(cube: CubeRange, perturbation: Perturbation) -> Any:
    return Stage(cube, perturbation).demonstrate
