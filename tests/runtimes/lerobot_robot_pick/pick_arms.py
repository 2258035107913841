"""The robot: LeRobot's interface around the demo's scene, one control step for each action."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from lerobot.robots import Robot

from reflow.demo.scene import FRAME_HEIGHT, FRAME_WIDTH, STATE_DIM, PickScene

from .config_pick_arms import PickArmsConfig
from .record import write_line

JOINTS = tuple(f"joint_{number}.pos" for number in range(STATE_DIM))
CAMERA = "top"


class PickArms(Robot):
    """Two arms in MuJoCo. The world stands still between two actions, so a slow computer does it no harm."""

    config_class = PickArmsConfig
    name = "pick_arms"

    def __init__(self, config: PickArmsConfig) -> None:
        super().__init__(config)
        self.config = config
        self.cameras: dict[str, Any] = {CAMERA: None}  # LeRobot counts them
        self._scene: PickScene | None = None
        self._frame: np.ndarray | None = None  # the last one, as long as nothing moved

    @cached_property
    def observation_features(self) -> dict[str, Any]:
        return dict.fromkeys(JOINTS, float) | {CAMERA: (FRAME_HEIGHT, FRAME_WIDTH, 3)}

    @cached_property
    def action_features(self) -> dict[str, Any]:
        return dict.fromkeys(JOINTS, float)

    @property
    def is_connected(self) -> bool:
        return self._scene is not None

    def connect(self, calibrate: bool = True) -> None:
        self._scene = PickScene()
        self._scene.reset(self.config.seed)

    @property
    def is_calibrated(self) -> bool:
        return True

    def calibrate(self) -> None:
        """Nothing: angles are what they are."""

    def configure(self) -> None:
        """Nothing to set."""

    def get_observation(self) -> dict[str, Any]:
        state = self._there().state()
        write_line(self.config.record, "observation", state)
        joints = dict(zip(JOINTS, map(float, state), strict=True))
        if self._frame is None:
            self._frame = self._there().render()
        return joints | {CAMERA: self._frame}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        values = np.array([float(action[joint]) for joint in JOINTS])
        write_line(self.config.record, "action", values)
        if self.config.powered:
            self._there().step(values)
            self._frame = None
        return action

    def disconnect(self) -> None:
        self._scene = None

    def _there(self) -> PickScene:
        if self._scene is None:
            raise ConnectionError(f"{self} is not connected; call connect() first")
        return self._scene
