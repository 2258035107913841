"""The demo task as an ordinary LeRobot environment: `env.type=pick`, gymnasium id `reflow/Pick-v0`.

    lerobot-eval --env.type=pick --env.discover_packages_path=reflow.demo.pick_env --policy.path=FOLDER

Importing this module registers both names; the simulator is imported when an environment is made. Physics,
camera and rewards are those of :class:`reflow.demo.scene.PickScene`, hence of the stock `AlohaEnv`; what is new
is the goal (either arm holds the cube off the table for five steps in a row) and where the cube starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from lerobot.configs import FeatureType, PolicyFeature
from lerobot.envs.configs import EnvConfig
from lerobot.utils.constants import ACTION, OBS_IMAGES, OBS_STATE

from reflow.demo.dataset import TASK
from reflow.demo.scene import FPS, FRAME_HEIGHT, FRAME_WIDTH, STATE_DIM, CubeRange, PickScene, is_picked
from reflow.errors import UserError
from reflow.simulator.delay import HOLD
from reflow.simulator.environment import EnvironmentSettings

__path__: list[str] = []  # LeRobot's plugin discovery goes on to a plugin's submodules: here are none

GYM_ID = "reflow/Pick-v0"
EPISODE_LENGTH = 150  # control steps, 3 s


class PickEnv(gymnasium.Env):
    """One cube, two arms, three seconds.

    Args:
        cube: Where the cube may start.
        render_mode: "rgb_array", the only one there is.

    Attributes:
        render_steps: Whether `reset` and `step` render. Where False, their observations hold a black frame, and
            whoever wants to look asks :meth:`observe`; everything else is the same.
        ends_every: The pick ends the episode at the next multiple of so many control steps; 1 is at once.
        scene: The world itself.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}  # noqa: RUF012  gymnasium's own way

    def __init__(self, cube: CubeRange | None = None, render_mode: str = "rgb_array") -> None:
        if render_mode not in self.metadata["render_modes"]:
            raise UserError(f"render_mode={render_mode!r}; allowed: 'rgb_array'; this scene has no window")
        self.render_mode = render_mode
        self.render_steps, self.ends_every = True, 1
        self.task = "pick"
        self.task_description = TASK
        self.observation_space = spaces.Dict(
            {
                "pixels": spaces.Dict({"top": spaces.Box(0, 255, (FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8)}),
                "agent_pos": spaces.Box(-1000.0, 1000.0, (STATE_DIM,), np.float64),
            }
        )
        self.action_space = spaces.Box(-1.0, 1.0, (STATE_DIM,), np.float32)  # as the stock one says
        self.scene = PickScene(cube or CubeRange())
        self._rewards: list[int] = []

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Starts the episode of a seed; without one, of a seed drawn from gymnasium's generator."""
        super().reset(seed=seed)
        self.scene.reset(int(self.np_random.integers(2**32)) if seed is None else seed)
        self._rewards = []
        return self._after_step(), {"is_success": False}

    def step(self, action: np.ndarray) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """Advances by one control step of 0.02 s; the episode is over when the cube was picked.

        Args:
            action: (14,) absolute joint angles in rad and normalized grippers, left arm first.
        """
        # In float64, so that a gripper's command is not rounded on its way: as the demonstrator commands it.
        self._rewards.append(self.scene.step(np.asarray(action, dtype=np.float64)))
        success = is_picked(self._rewards)
        over = success and len(self._rewards) % self.ends_every == 0
        return self._after_step(), float(self._rewards[-1]), over, False, {"is_success": success}

    def observe(self) -> dict[str, Any]:
        """The present observation with its frame, whatever `render_steps` says."""
        return {"pixels": {"top": self.scene.render()}, "agent_pos": self.scene.state()}

    def render(self) -> np.ndarray:
        """(480, 640, 3) uint8 frame of camera "top"."""
        return self.scene.render()

    def _after_step(self) -> dict[str, Any]:
        if self.render_steps:
            return self.observe()
        black = np.zeros((FRAME_HEIGHT, FRAME_WIDTH, 3), np.uint8)
        return {"pixels": {"top": black}, "agent_pos": self.scene.state()}


@EnvConfig.register_subclass("pick")
@dataclass
class PickEnvConfig(EnvConfig):
    """LeRobot's configuration of the environment.

    Attributes:
        task: Its name in gymnasium.
        fps: Control steps per second; the scene's own.
        episode_length: Control steps after which an episode ends without success.
        cube_x: Lowest and highest x of the cube's start in m; see :class:`reflow.demo.scene.CubeRange`.
        cube_y: Lowest and highest y of the cube's start in m.
    """

    task: str | None = "Pick-v0"
    fps: int = FPS
    episode_length: int = EPISODE_LENGTH
    cube_x: tuple[float, float] = CubeRange.x
    cube_y: tuple[float, float] = CubeRange.y
    features: dict[str, PolicyFeature] = field(
        default_factory=lambda: {
            ACTION: PolicyFeature(FeatureType.ACTION, (STATE_DIM,)),
            "agent_pos": PolicyFeature(FeatureType.STATE, (STATE_DIM,)),
            "pixels/top": PolicyFeature(FeatureType.VISUAL, (FRAME_HEIGHT, FRAME_WIDTH, 3)),
        }
    )
    features_map: dict[str, str] = field(
        default_factory=lambda: {ACTION: ACTION, "agent_pos": OBS_STATE, "pixels/top": f"{OBS_IMAGES}.top"}
    )

    @property
    def package_name(self) -> str:
        """The module whose import registers the environment."""
        return __name__

    @property
    def gym_id(self) -> str:
        """The environment's name in gymnasium."""
        return f"{GYM_ID.rpartition('/')[0]}/{self.task}"

    @property
    def gym_kwargs(self) -> dict[str, Any]:
        """What `gymnasium.make` is given."""
        cube = CubeRange(_as_range(self.cube_x), _as_range(self.cube_y))
        return {"cube": cube, "max_episode_steps": self.episode_length}


def pick_environment(**fields: Any) -> EnvironmentSettings:
    """This environment for the player, wherever it plays.

    Args:
        fields: of :class:`PickEnvConfig`; its defaults for the others.
    """
    return EnvironmentSettings("pick", fields, discover_packages_path=__name__, idle=HOLD)


def _as_range(given: Sequence[float]) -> tuple[float, float]:
    # Command lines and YAML give lists; how many numbers there must be is for CubeRange to say.
    return cast(tuple[float, float], tuple(given))


gymnasium.register(GYM_ID, entry_point=f"{__name__}:PickEnv", max_episode_steps=EPISODE_LENGTH)
