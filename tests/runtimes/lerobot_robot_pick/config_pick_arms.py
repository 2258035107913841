"""Settings of the simulated robot."""

from dataclasses import dataclass

from lerobot.robots.config import RobotConfig


@RobotConfig.register_subclass("pick_arms")
@dataclass
class PickArmsConfig(RobotConfig):
    """Two simulated arms and a cube.

    Attributes:
        record: a file that gets a line for every observation and every action; null for none.
        seed: where the cube starts.
        powered: where False, the arms stay where they are whatever they are told: every chunk of actions starts from
            the first observation, where either arm may still go for the cube.
    """

    record: str | None = None
    seed: int = 100000
    powered: bool = True
