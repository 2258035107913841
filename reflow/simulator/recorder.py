"""What a policy gets to see while it plays, kept as it saw it: observations to distill on.

Distillation needs observations, not actions: the teacher says what to do with each. So a policy plays, and its looks
are kept, with states between them; failures too, for there a student needs its teacher most. Left out: who plays in
which process, and where it is written.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from lerobot.utils.constants import OBS_STATE

from reflow.data.recording import Layout, Recorded
from reflow.data.shrink import shrink_frame
from reflow.errors import UserError
from reflow.policies import Batch
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.environment import cameras_of
from reflow.simulator.looking import Observation
from reflow.simulator.rollout import Moment, Player


@dataclass(frozen=True)
class Watching:
    """Which moments of an episode are kept, and how it is played.

    Attributes:
        steps: integration steps; each chunk is played at one of these, drawn anew. Fewer than a policy needs push an
            episode off its way, to where a student that is not perfect will get. Empty: the policy's own.
        looks: most looks of an episode, 1 or more; None: to its end.
        between: further observations per look, at control steps drawn at random before the next.
        box: frames are kept as a SmolVLA of so many pixels sees them (``resize_imgs_with_padding``), which loses
            nothing it could see and is smaller; None: as the environment shows them.

    Raises:
        UserError: a number is out of range.
    """

    steps: tuple[int, ...] = ()
    looks: int | None = None
    between: int = 1
    box: int | None = None

    def __post_init__(self) -> None:
        for name, least in (("looks", 1), ("between", 0), ("box", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise UserError(f"{name}={value}; allowed: {least} or more")
        if self.steps and min(self.steps) < 1:
            raise UserError(f"steps={list(self.steps)}; allowed: numbers, each 1 or more, or none")


class Recorder:
    """Records a policy that plays as it is deployed (:class:`reflow.simulator.rollout.Player`).

    Args:
        conditions: environment and noise.
        folder: of the policy that plays.
        watching: what is kept.

    Raises:
        UserError: the policy acts on a history of observations, of which no one alone is enough.
    """

    def __init__(self, conditions: Conditions, folder: Path, watching: Watching) -> None:
        self.watching, self.player = watching, Player(conditions)
        self.policy = Contender("policy", folder, 1)
        self._actor = self.player.actor(folder)
        if self._actor.memory > 1:
            raise UserError(
                f"{folder}: it acts on the last {self._actor.memory} observations; rollouts keep single ones"
            )

    def __call__(self, seed: int) -> Recorded:
        """Plays and records the episode of a seed; it tells at which control steps (``at``) its rows were seen."""
        random = np.random.default_rng(seed)
        seen: list[tuple[int, Batch, np.ndarray]] = []
        due: set[int] = set()

        def watch(now: Moment) -> None:
            if now.length:
                between = random.integers(1, max(now.length, 2), self.watching.between)
                due.update({now.step} | {now.step + at for at in between.tolist()})
            if now.step in due:
                seen.append((now.step, self._observation(now.observe()), now.action))

        steps = self.watching.steps or (self._actor.own_steps,)
        episode, _ = self.player.play(
            self.policy, seed, watch, lambda: int(random.choice(steps)), self.watching.looks
        )
        cameras = [key for key in seen[0][1] if key != OBS_STATE]
        return Recorded(
            seed=seed,
            task=self.player.instruction(),
            success=episode.success,
            frames={key: np.stack([self._frame(row[key]) for _, row, _ in seen]) for key in cameras},
            states=np.stack([row[OBS_STATE][0].numpy() for _, row, _ in seen]).astype(np.float32),
            actions=np.stack([action for _, _, action in seen]).astype(np.float32),
            told={"at": [step for step, _, _ in seen]},
        )

    def _observation(self, observation: Observation) -> Batch:
        """State and cameras by the policy's names, before its own normalisation."""
        whole = self._actor.observed(observation)
        return {key: whole[key] for key in (*cameras_of(self._actor.config), OBS_STATE)}

    def _frame(self, image: torch.Tensor) -> np.ndarray:
        """uint8 (height, width, 3) of what LeRobot hands a policy: [1, 3, height, width] in [0, 1]."""
        levels = (image[0].permute(1, 2, 0) * 255.0).round().to(torch.uint8).numpy()
        return levels if self.watching.box is None else shrink_frame(levels, self.watching.box)


def layout_of(episode: Recorded, fps: int, robot_type: str) -> Layout:
    """What the data set is whose episodes are like this one.

    Args:
        episode: with frames.
        fps: control steps per second.
        robot_type: what the data set says of the robot.
    """
    assert episode.frames is not None  # a recorder renders all that it keeps
    return Layout(
        robot_type=robot_type,
        fps=fps,
        cameras={key: (frames.shape[1], frames.shape[2]) for key, frames in episode.frames.items()},
        state=[f"state_{number}" for number in range(episode.states.shape[1])],
        action=[f"action_{number}" for number in range(episode.actions.shape[1])],
    )
