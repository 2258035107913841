"""The player: one process's environment, in which an actor's episodes are played as ``lerobot-eval`` plays them.

One thing differs: where the environment can do so, cameras are rendered only for what the actor looks at. Left out:
who acts (``reflow.simulator.actor``).
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.envs.utils import NEW_ROLLOUT_OPTION, preprocess_observation
from lerobot.utils.constants import OBS_STATE

from reflow.errors import UserError
from reflow.simulator.actor import Actor, Conditions, Contender, PolicyActor
from reflow.simulator.delay import Timing, idle_command
from reflow.simulator.journal import Episode
from reflow.simulator.looking import Observation, render_on_look
from reflow.simulator.runtime import make_vector_env


@dataclass(frozen=True)
class Moment:
    """What a watcher gets to see before a control step.

    Attributes:
        step: control steps played before, 0 first.
        length: control steps from the look that is made here to the next; 0 where none is made.
        action: that is played next, [a], physical units.
        blind: what the last step returned, a batch of one; its cameras may show nothing.
        observe: renders, where it must, and gives what the policy would see now.
        frame: renders and gives the picture of the scene, uint8 (height, width, 3).
    """

    step: int
    length: int
    action: np.ndarray
    blind: Observation
    observe: Callable[[], Observation]
    frame: Callable[[], np.ndarray]


type Watcher = Callable[[Moment], None]


class Player:
    """Plays episodes, one after the other, in one environment that is made once.

    Args:
        conditions: environment, noise, device.
    """

    def __init__(self, conditions: Conditions) -> None:
        self.conditions = conditions
        self.env = make_vector_env(conditions.env)
        self._config = conditions.env.make_config()
        self._look = render_on_look(self.env)
        self._policies: dict[Path, PolicyActor] = {}

    @property
    def fps(self) -> float:
        """Control steps a second."""
        return float(self._config.fps)

    def close(self) -> None:
        """Closes the environment."""
        self.env.close()

    def play(
        self,
        contender: Contender,
        seed: int,
        watch: Watcher | None = None,
        num_steps: Callable[[], int] | None = None,
        looks: int | None = None,
    ) -> tuple[Episode, np.ndarray]:
        """Lets a policy act (:meth:`follow`).

        Args:
            contender: who plays; its folder is loaded once.
            seed: of the environment; with the noise seed, of the noise.
            watch: called before every control step.
            num_steps: asked before each chunk, in the place of the contender's own.
            looks: as of :meth:`follow`.
        """
        actor = self.actor(contender.folder).play_as(contender, num_steps)
        episode, actions = self.follow(actor, seed, watch, actor.timing, looks=looks)
        played = {name: getattr(contender, name) for name in ("n_action_steps", "delay", "rtc")}
        return replace(episode, **played), actions

    def actor(self, folder: Path) -> PolicyActor:
        """The policy of a folder, loaded once."""
        if folder not in self._policies:
            self._policies[folder] = PolicyActor(folder, self.conditions, self._config)
        return self._policies[folder]

    def follow(
        self,
        actor: Actor,
        seed: int,
        watch: Watcher | None = None,
        timing: Timing | None = None,
        *,
        looks: int | None = None,
    ) -> tuple[Episode, np.ndarray]:
        """Plays one episode to its end: success, time limit, or unstable physics, which is a failure.

        Args:
            actor: who acts.
            seed: of the environment.
            watch: called before every control step.
            timing: when it looks, and what is played of its chunks; None for all of each, in a world that waits.
            looks: most looks of the actor; where it would look once more, the episode ends. None: no limit.

        Returns:
            The episode, and its executed actions, float32 [T, a].
        """
        actor.start(seed)
        seen, _ = self.env.reset(seed=[seed], options={NEW_ROLLOUT_OPTION: True})
        timing, ahead = timing or Timing(), 0  # control steps to the next look
        queue: deque[np.ndarray | None] = deque()
        memory: deque[Observation] = deque(maxlen=actor.memory)
        actions: list[np.ndarray] = []
        rewards: list[float] = []
        seams: list[int] = []  # steps at which the first command of a chunk is played
        success, over, looked = False, False, 0
        limit = self._limit()
        while not over and len(actions) < limit:
            length = 0
            if ahead < actor.memory:  # what is seen now is remembered at the next look
                now = self._observe(seen)
                memory.extend([now] * (1 if memory else actor.memory))
            if not ahead:
                if looks is not None and looks == looked:
                    break
                new = actor.act(tuple(memory), self.instruction(), len(queue))
                commands, ahead = timing.go_on(tuple(queue), new)
                queue, length, looked = deque(commands), ahead, looked + 1
                seams.append(len(actions) + timing.delay)
            ahead -= 1
            action = queue.popleft()
            if action is None:
                action = self._idle(actions[-1] if actions else None, seen)
            if watch is not None:
                watch(Moment(len(actions), length, action, seen, partial(self._observe, seen), self._frame))
            actions.append(action)
            try:
                seen, reward, terminated, truncated, info = self.env.step(action[None])
            except _unstable():  # commands so wild that the physics cannot follow: the robot is broken
                rewards.append(0.0)
                break
            rewards.append(float(reward[0]))
            success = success or _is_success(info)
            over = bool(terminated[0] or truncated[0])
        episode = Episode(
            contender=actor.name,
            num_steps=actor.num_steps,
            seed=seed,
            success=success,
            max_reward=max(rewards),
            sum_reward=sum(rewards),
            length=len(actions),
            jumps=_jumps(np.stack(actions), seams),
        )
        return episode, np.stack(actions).astype(np.float32)

    def _limit(self) -> int:
        """Control steps of an episode: the environment's, or fewer, which some of LeRobot's do not ask for."""
        own = int(self.env.call("_max_episode_steps")[0])
        asked = self.conditions.env.fields.get("episode_length")
        if asked is not None and not 1 <= asked <= own:
            kind = self.conditions.env.type
            raise UserError(
                f"env.episode_length={asked}; allowed for env.type={kind}: 1 to {own} control steps"
            )
        return own if asked is None else asked

    def instruction(self) -> str:
        """The sentence that the policy is given."""
        if self.conditions.env.instruction is not None:
            return self.conditions.env.instruction
        for name in ("task_description", "task"):  # LeRobot's own order
            try:
                return str(self.env.call(name)[0])
            except (AttributeError, NotImplementedError):
                continue
        return ""

    def _idle(self, last: np.ndarray | None, seen: Observation) -> np.ndarray:
        state = None if last is not None else preprocess_observation(seen).get(OBS_STATE)
        width = self.env.single_action_space.shape[0]
        return idle_command(
            self.conditions.env.idle, last, None if state is None else state[0].numpy(), width
        )

    def _observe(self, seen: Observation) -> Observation:
        return seen if self._look is None else self._look()

    def _frame(self) -> np.ndarray:
        return np.asarray(self.env.call("render")[0])


def _jumps(actions: np.ndarray, seams: Sequence[int]) -> tuple[float, ...]:
    """Of each action dimension the largest change where a chunk takes over from the one before; none without one."""
    later = [step for step in seams[1:] if step < len(actions)]
    changes = [np.abs(actions[step] - actions[step - 1]) for step in later]
    return tuple(map(float, np.max(changes, axis=0))) if changes else ()


def _unstable() -> tuple[type[Exception], ...]:
    """What MuJoCo's Python side raises where its physics diverges, if it has been imported at all."""
    control = sys.modules.get("dm_control.rl.control")
    return () if control is None else (control.PhysicsError,)


def _is_success(info: dict[str, Any]) -> bool:
    """What ``lerobot-eval`` reads out of a step's info, for a batch of one."""
    found = info.get("final_info", info)
    if not isinstance(found, dict):
        found = found[0] if found[0] is not None else {}
    return bool(np.any(found.get("is_success", False)))
