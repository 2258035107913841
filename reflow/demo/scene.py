"""The stock gym-aloha transfer-cube scene, rendered only when someone looks.

The stock environment renders three 480x640 cameras on every control step, about 200 times the cost of the
physics. `PickScene` drives the very same `AlohaEnv` (same model, substeps, actions and rendering flags)
with the cameras taken out of its step, and renders the policy's camera on demand. It judges nothing itself:
the reward is the environment's own. What counts as a pick stands in :func:`is_picked`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from reflow.errors import UserError
from reflow.simulator.gl import no_render_error, prepare_gl

FPS = 50  # control steps per second
FRAME_HEIGHT, FRAME_WIDTH = 480, 640  # pixels
STATE_DIM = 14  # 2 arms x (6 joints in rad + 1 gripper, 0 closed to 1 open)
STOCK_X, STOCK_Y = (0.0, 0.2), (0.4, 0.6)  # m, where gym-aloha itself puts the cube
CUBE_DROP_HEIGHT = 0.05  # m, where gym-aloha starts the cube


@dataclass(frozen=True)
class CubeRange:
    """Where the cube may start; from the default range both arms pick.

    The left arm reaches no further than x = 0.16 with the demonstrator's steep grasp.

    Attributes:
        x: Lowest and highest x in m, within the stock (0.0, 0.2); the left arm's base is at -0.469, the right
            one's at 0.469.
        y: Lowest and highest y in m, within the stock (0.4, 0.6); both bases are at 0.5.
    """

    x: tuple[float, float] = (0.05, 0.15)
    y: tuple[float, float] = (0.45, 0.55)

    def __post_init__(self) -> None:
        for name, given, stock in (("x", self.x, STOCK_X), ("y", self.y, STOCK_Y)):
            if len(given) != 2 or not stock[0] <= given[0] <= given[1] <= stock[1]:
                raise UserError(
                    f"CubeRange.{name}={tuple(given)} must be (low, high) within gym-aloha's own {stock}; "
                    f"leave it out for the default."
                )

    def sample(self, seed: int) -> np.ndarray:
        """Draws the cube's start pose; with the stock range, the very pose gym-aloha draws for this seed.

        Args:
            seed: Non-negative integer below 2**32.

        Returns:
            (7,) float64: position in m, then the unit quaternion (w, x, y, z) of an unturned cube.
        """
        low = [self.x[0], self.y[0], CUBE_DROP_HEIGHT]
        high = [self.x[1], self.y[1], CUBE_DROP_HEIGHT]
        return np.concatenate([np.random.RandomState(seed).uniform(low, high), [1.0, 0.0, 0.0, 0.0]])


STOCK_RANGE = CubeRange(STOCK_X, STOCK_Y)


def is_picked(rewards: Sequence[int], hold: int = 5) -> bool:
    """Tells whether the cube was held off the table for `hold` control steps in a row.

    Args:
        rewards: The environment's own rewards, one per control step, 0 to 4; 2 is "right gripper holds it off
            the table", 4 is "left gripper holds it off the table".
        hold: Number of consecutive control steps, 1 or more.

    Returns:
        Whether there was such a run.
    """
    run = 0
    for reward in rewards:
        run = run + 1 if reward in (2, 4) else 0
        if run >= hold:
            return True
    return False


@dataclass
class PickScene:
    """A transfer-cube world that steps at the speed of its physics.

    Attributes:
        cube: Where the cube may start; `STOCK_RANGE` for what `lerobot-eval` shows.
    """

    cube: CubeRange = field(default_factory=CubeRange)

    def __post_init__(self) -> None:
        prepare_gl()
        try:
            from gym_aloha.env import AlohaEnv
        except (
            ImportError,
            AttributeError,
        ) as error:  # PyOpenGL raises AttributeError where a library is missing
            raise no_render_error(error) from error
        self._env = AlohaEnv(task="transfer_cube", obs_type="pixels_agent_pos")._env
        self._env.task.get_observation = lambda physics: {}  # the stock one renders three cameras

    @property
    def physics(self):
        """The dm_control physics of the stock environment."""
        return self._env.physics

    def reset(self, seed: int) -> np.ndarray:
        """Starts an episode: both arms at their start pose, the cube where the seed puts it.

        Args:
            seed: Non-negative integer below 2**32.

        Returns:
            (7,) float64, the cube's pose: position in m and quaternion (w, x, y, z).
        """
        from gym_aloha.tasks.sim import BOX_POSE

        pose = self.cube.sample(seed)
        BOX_POSE[0] = pose  # how gym-aloha hands the pose to its task
        self._env.reset()
        return pose

    def step(self, action: np.ndarray) -> int:
        """Advances by one control step of 0.02 s.

        Args:
            action: (14,) absolute joint angles in rad and normalized grippers (0 closed, 1 open), left first.

        Returns:
            The environment's reward after the step, 0 to 4.
        """
        action = np.asarray(action)
        if action.shape != (STATE_DIM,):
            raise UserError(
                f"action has shape {action.shape}; this scene takes ({STATE_DIM},), one step at a time."
            )
        return int(self._env.step(action).reward)

    def state(self) -> np.ndarray:
        """(14,) float64 joint angles in rad and normalized grippers, without rendering."""
        return self._env.task.get_qpos(self.physics)

    def render(self) -> np.ndarray:
        """(480, 640, 3) uint8 frame of camera "top" with the environment's own flags."""
        try:
            return self.physics.render(height=FRAME_HEIGHT, width=FRAME_WIDTH, camera_id="top").copy()
        except (ImportError, AttributeError, RuntimeError) as error:
            raise no_render_error(error) from error

    def cube_position(self) -> np.ndarray:
        """(3,) float64 centre of the cube in m."""
        return self.physics.named.data.xpos["box"].copy()
