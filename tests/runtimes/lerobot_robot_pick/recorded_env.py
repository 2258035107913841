"""The demo's environment, which also writes its actions down: what ``lerobot-eval`` asks of a robot."""

from dataclasses import dataclass
from typing import Any

import gymnasium
import numpy as np
from lerobot.envs.configs import EnvConfig

from reflow.demo.pick_env import EPISODE_LENGTH, PickEnv, PickEnvConfig
from reflow.demo.scene import CubeRange

from .record import write_line


class RecordedPick(PickEnv):
    """As :class:`PickEnv`; adds a line for the state at every reset and one for every action."""

    def __init__(self, record: str, cube: CubeRange | None = None, render_mode: str = "rgb_array") -> None:
        super().__init__(cube, render_mode)
        self._record = record

    def reset(self, **how: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        observation, info = super().reset(**how)
        write_line(self._record, "observation", observation["agent_pos"])
        return observation, info

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        write_line(self._record, "action", action)
        return super().step(action)


@EnvConfig.register_subclass("pick_recorded")
@dataclass
class RecordedPickConfig(PickEnvConfig):
    """As :class:`PickEnvConfig`.

    Attributes:
        record: the file that gets the lines.
    """

    task: str | None = "RecordedPick-v0"
    record: str = ""

    @property
    def package_name(self) -> str:
        return __name__

    @property
    def gym_id(self) -> str:
        return "reflow/RecordedPick-v0"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        return super().gym_kwargs | {"record": self.record}


gymnasium.register(
    "reflow/RecordedPick-v0", entry_point=f"{__name__}:RecordedPick", max_episode_steps=EPISODE_LENGTH
)
