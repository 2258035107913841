"""Meta-World (a Sawyer arm, 4 action dimensions, 50 tasks): its tasks, and the script that solves each of them.

The environment is LeRobot's own, ``env.type=metaworld``; how its frames are left out where nobody looks is in
``reflow.simulator.looking``.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from reflow.errors import NotInstalledError, UserError
from reflow.simulator.looking import Observation

FPS = 80  # control steps per second
FRAME = 480  # pixels, height and width of what its camera gives


@cache
def tasks() -> dict[str, str]:
    """Every task and its sentence, as LeRobot has them; nothing of Meta-World is imported."""
    return json.loads(files("lerobot.envs").joinpath("metaworld_config.json").read_text())[
        "TASK_DESCRIPTIONS"
    ]


def check_runtime(task: str) -> None:
    """Looks for the package and the task, without importing anything of it.

    Raises:
        UserError: there is no such task, or it names several.
        NotInstalledError: the package is missing.
    """
    if task.removeprefix("metaworld-") not in tasks():
        raise UserError(f"env.task={task}; allowed for env.type=metaworld: one of {sorted(tasks())}")
    if importlib.util.find_spec("metaworld") is None:
        raise NotInstalledError(
            "env.type=metaworld needs the package metaworld, which is not installed: pip install 'reflow[metaworld]'"
        )


@dataclass(frozen=True)
class Pushes:
    """Pushes on the executed command, while the label stays clean, as in DART (Laskey et al. 2017).

    The script sees where it was pushed and leads back, which is what a policy that is not perfect needs to have seen.
    The gripper is left alone: what is dropped is seldom picked up again.

    Attributes:
        share: of the time that a push lasts, 0 to 1.
        size: largest push of a dimension, in parts of the largest command, 0 to 1.
        steps: control steps that each lasts, 1 or more.
    """

    share: float = 0.3
    size: float = 0.5
    steps: int = 8

    def __post_init__(self) -> None:
        for name in ("share", "size"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UserError(f"pushes.{name}={getattr(self, name)}; allowed: 0 to 1, 0 switches them off")
        if self.steps < 1:
            raise UserError(f"pushes.steps={self.steps}; allowed: 1 control step or more")

    def at(self, seed: int, step: int) -> np.ndarray:
        """The push at a control step of a seed's episode, [4], to add to the command."""
        random = np.random.default_rng([seed, step // self.steps])
        push = np.zeros(4)
        if random.random() < self.share:
            push[:3] = random.uniform(-self.size, self.size, 3)
        return push


class Expert:
    """The script that comes with a task; it reads the simulator's state and looks at nothing.

    Args:
        env: LeRobot's environment of one task, bare. The expert listens to what it observes.
        pushes: on what it executes; None for none.

    Attributes:
        command: what it last wanted, float32 [4], in [-1, 1].
    """

    name, num_steps, memory = "expert", 0, 0

    def __init__(self, env: Any, pushes: Pushes | None = None) -> None:
        self._script, self._pushes = env.expert_policy, pushes or Pushes(share=0.0)
        self._state, stock = np.empty(0), env._format_raw_obs

        def listen(state: np.ndarray) -> Observation:
            self._state = state
            return stock(state)

        env._format_raw_obs = listen

    def start(self, seed: int) -> None:
        """Begins with the pushes of a seed."""
        self._seed, self._step = seed, 0

    def act(self, seen: Sequence[Observation], task: str, left: int) -> list[np.ndarray]:
        """The next command with its push, float32 [4], as the environment executes it: in [-1, 1]."""
        with warnings.catch_warnings():  # it warns at every command that it leaves for others to clip
            warnings.simplefilter("ignore")
            wanted = self._script.get_action(self._state)
        self.command = np.clip(wanted, -1.0, 1.0).astype(np.float32)
        push = self._pushes.at(self._seed, self._step)
        self._step += 1
        return [np.clip(self.command + push, -1.0, 1.0).astype(np.float32)]
