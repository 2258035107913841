"""A simulated robot as a LeRobot plugin: the demo's two arms, their camera and the cube, as hardware.

    lerobot-rollout --robot.type=pick_arms --robot.id=sim --robot.record=FILE ...

LeRobot imports every installed distribution of a name like this one by itself. Physics and camera are those of
:class:`reflow.demo.scene.PickScene`; the robot knows nothing of policies, and writes down what it is told to do. The
same scene is there as an environment that writes down its actions, ``--env.type=pick_recorded``.
"""

from .config_pick_arms import PickArmsConfig
from .pick_arms import PickArms
from .recorded_env import RecordedPickConfig

__all__ = ["PickArms", "PickArmsConfig", "RecordedPickConfig"]
