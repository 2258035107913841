"""How the robot would move: held-out episodes in open loop, each policy playing its own chunks.

At every frame where a deployed policy looks (0, n_action_steps, ...) it sees what the demonstrator saw there,
and n_action_steps of its chunk are played, the last one's too, however short the recording is.

Left out: consequences. A policy that meets those of its own actions is the simulator's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
from torch import Tensor

from reflow.data.robot import Robot
from reflow.metrics import MotionStatistics
from reflow.probes.figures import Figures, figures
from reflow.probes.observations import Observations, Observed, Purpose
from reflow.probes.probe import Probe

_SHORTEST = 4  # actions of an episode; jerk is a third difference


class Motion(Probe):
    """Figures ``motion/<who>@n/<statistic>`` and ``.../<joint>``.

    Left out: flips of joints that are no grippers, or that never moved in the recordings; jumps between chunks where
    no episode is longer than one.

    Args:
        robot: what plays.
        n_action_steps: control steps played of each chunk.
        looks: how many looks each episode has; observations come in that order.
        contenders: who, at which step count.
    """

    def __init__(
        self, robot: Robot, n_action_steps: int, looks: Sequence[int], contenders: Sequence[tuple[str, int]]
    ) -> None:
        self.robot, self.n_action_steps, self.looks = robot, n_action_steps, tuple(looks)
        self.contenders = tuple(contenders)

    def start(self, by: Observations, *, thorough: bool = True) -> None:
        """Forgets what was played."""
        super().start(by, thorough=thorough)
        self._played: dict[tuple[str, int], list[Tensor]] = {contender: [] for contender in self.contenders}

    def update(self, seen: Observed) -> None:
        """Plays the next looks."""
        noise = seen.noise(Purpose.MOTION, 1)
        for (who, num_steps), played in self._played.items():
            chunk = seen.walk(who, noise, num_steps)[:, 0]
            played.append(seen.physical(who, chunk)[:, : self.n_action_steps])

    def result(self) -> Figures:
        """Statistics over all episodes."""
        found = Figures()
        for (who, num_steps), played in self._played.items():
            episodes = [episode.flatten(0, 1) for episode in torch.cat(played).split(self.looks)]
            episodes = [actions for actions in episodes if len(actions) >= _SHORTEST]
            if not episodes:
                continue
            statistics = MotionStatistics(
                self.robot.fps,
                self.n_action_steps,
                self.robot.lower,
                self.robot.upper,
                self.robot.grippers,
            )
            for actions in episodes:
                statistics.update(actions)
            named = _named(f"motion/{who}@{num_steps}", statistics.compute(), self.robot.joints)
            without = tuple(self._undefined(any(len(actions) > self.n_action_steps for actions in episodes)))
            found |= figures({name: value for name, value in named.items() if not name.endswith(without)})
        return found

    def _undefined(self, boundaries: bool) -> Iterator[str]:
        robot = self.robot
        for number, joint in enumerate(robot.joints):
            if number not in robot.grippers or not robot.lower[number] < robot.upper[number]:
                yield f"/gripper_flips/{joint}"
        if not boundaries:
            for figure in ("boundary_jump_mean", "boundary_jump_max"):
                yield from (f"/{figure}", *(f"/{figure}/{joint}" for joint in robot.joints))


def _named(prefix: str, statistics: Mapping[str, Tensor], joints: Sequence[str]) -> dict[str, Tensor]:
    named: dict[str, Tensor] = {}
    for name, value in statistics.items():
        if value.ndim == 0:
            named[f"{prefix}/{name}"] = value
        else:
            figure = name.removesuffix("/joint")
            named |= {f"{prefix}/{figure}/{joint}": x for joint, x in zip(joints, value, strict=True)}
    return named
