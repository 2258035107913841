"""Meta-World (a Sawyer arm, 4 action dimensions, 50 tasks): its tasks, and the script that solves each of them.

The environment is LeRobot's own, ``env.type=metaworld``; how its frames are left out where nobody looks is in
``reflow.simulator.looking``.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from collections.abc import Sequence
from importlib.resources import files
from typing import Any

import numpy as np

from reflow.errors import NotInstalledError, UserError
from reflow.simulator.looking import Observation


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


class Expert:
    """The script that comes with a task; it reads the simulator's state and looks at nothing.

    Args:
        env: LeRobot's environment of one task, bare. The expert listens to what it observes.
    """

    name, num_steps, memory = "expert", 0, 0

    def __init__(self, env: Any) -> None:
        self._script, self._state, stock = env.expert_policy, np.empty(0), env._format_raw_obs

        def listen(state: np.ndarray) -> Observation:
            self._state = state
            return stock(state)

        env._format_raw_obs = listen

    def start(self, seed: int) -> None:
        """Remembers nothing."""

    def act(self, seen: Sequence[Observation], task: str) -> list[np.ndarray]:
        """The next command, float32 [4], in [-1, 1] as the environment executes it."""
        with warnings.catch_warnings():  # it warns at every command that it leaves for others to clip
            warnings.simplefilter("ignore")
            command = self._script.get_action(self._state)
        return [np.clip(command, -1.0, 1.0).astype(np.float32)]
