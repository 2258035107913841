"""One process's world: an environment, policies, and episodes played as ``lerobot-eval`` plays them.

The policy runs as LeRobot runs it: environment and policy processors, stock ``predict_action_chunk``, a queue of
``n_action_steps`` actions. Two things differ. The noise is a function of (noise seed, episode seed, look), so that
every contender starts from the same numbers; and where the environment can do so, cameras are rendered only when
the policy looks.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.envs.utils import NEW_ROLLOUT_OPTION, preprocess_observation
from lerobot.utils.constants import ACTION

from reflow.flow import Draws
from reflow.policies import FlowPolicy, load_policy, load_processors
from reflow.simulator.environment import EnvironmentSettings, check_look, make_vector_env, saved_rename
from reflow.simulator.journal import Episode
from reflow.simulator.looking import Observation, render_on_look


@dataclass(frozen=True)
class Moment:
    """What a watcher gets to see before a control step.

    Attributes:
        step: control steps played before, 0 first.
        length: actions of the chunk that begins here; 0 within a chunk.
        action: that is played next, float32 [a], physical units.
        observe: renders, where it must, and gives what the policy would see now.
        frame: renders and gives the picture of the scene, uint8 (height, width, 3).
    """

    step: int
    length: int
    action: np.ndarray
    observe: Callable[[], Observation]
    frame: Callable[[], np.ndarray]


type Watcher = Callable[[Moment], None]


@dataclass(frozen=True)
class Contender:
    """A policy at a number of steps.

    Attributes:
        name: teacher, student, ...
        folder: its ``pretrained_model`` folder.
        num_steps: integration steps of each chunk, 1 or more.
    """

    name: str
    folder: Path
    num_steps: int

    @property
    def label(self) -> str:
        """For people: "student, 1 step"."""
        return f"{self.name}, {self.num_steps} step{'s' * (self.num_steps != 1)}"


@dataclass(frozen=True)
class Conditions:
    """What all contenders share.

    Attributes:
        env: the environment.
        noise_seed: with the episode's seed and the look it gives the noise.
        n_action_steps: actions played of each chunk; None for each policy's own.
        device: where the policies run.
    """

    env: EnvironmentSettings
    noise_seed: int = 7
    n_action_steps: int | None = None
    device: str = "cpu"


@dataclass(frozen=True)
class _Loaded:
    flow: FlowPolicy
    preprocess: Any
    postprocess: Any
    env_preprocess: Any
    env_postprocess: Any


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
        self._loaded: dict[Path, _Loaded] = {}
        self._draws = Draws(conditions.noise_seed)

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
    ) -> tuple[Episode, np.ndarray]:
        """Plays one episode to its end: success, time limit, or unstable physics, which is a failure.

        Args:
            contender: who plays.
            seed: of the environment; with the noise seed, of the noise.
            watch: called before every control step.
            num_steps: asked before each chunk, in the place of the contender's own.

        Returns:
            The episode, and its executed actions, float32 [T, a].
        """
        loaded = self._load(contender.folder)
        loaded.flow.num_steps = contender.num_steps
        loaded.flow.policy.reset()
        seen, _ = self.env.reset(seed=[seed], options={NEW_ROLLOUT_OPTION: True})
        queue: deque[torch.Tensor] = deque()
        actions: list[np.ndarray] = []
        rewards: list[float] = []
        success, over, looks = False, False, 0
        limit = int(self.env.call("_max_episode_steps")[0])
        while not over and len(actions) < limit:
            begins = not queue
            if begins:
                if num_steps is not None:
                    loaded.flow.num_steps = num_steps()
                queue.extend(self._think(loaded, self._observe(seen), seed, looks, contender.name))
                looks += 1
            length = len(queue) if begins else 0
            action = loaded.postprocess(queue.popleft())
            action = loaded.env_postprocess({ACTION: action})[ACTION].to("cpu").numpy()
            if watch is not None:
                watch(Moment(len(actions), length, action[0], partial(self._observe, seen), self._frame))
            actions.append(action[0])
            try:
                seen, reward, terminated, truncated, info = self.env.step(action)
            except _unstable():  # commands so wild that the physics cannot follow: the robot is broken
                rewards.append(0.0)
                break
            rewards.append(float(reward[0]))
            success = success or _is_success(info)
            over = bool(terminated[0] or truncated[0])
        episode = Episode(
            contender=contender.name,
            num_steps=contender.num_steps,
            seed=seed,
            success=success,
            max_reward=max(rewards),
            sum_reward=sum(rewards),
            length=len(actions),
        )
        return episode, np.stack(actions).astype(np.float32)

    def _think(
        self, loaded: _Loaded, seen: Observation, seed: int, look: int, who: str
    ) -> list[torch.Tensor]:
        """The actions until the next look, each [1, a], normalized."""
        observation = preprocess_observation(seen)
        observation["task"] = [self._instruction()]
        batch = loaded.preprocess(loaded.env_preprocess(observation))
        flow = loaded.flow
        if look == 0:
            check_look(self.conditions.env, batch, flow.config, who)
        noise = flow.noise(self._draws, torch.tensor([seed]), torch.tensor([[look]]))[:, 0]
        with torch.inference_mode():
            chunk = flow.stock_chunk(batch, noise.to(self.conditions.device))
        played = self.conditions.n_action_steps or flow.config.n_action_steps
        return list(chunk.transpose(0, 1)[:played])

    def _instruction(self) -> str:
        if self.conditions.env.instruction is not None:
            return self.conditions.env.instruction
        for name in ("task_description", "task"):  # LeRobot's own order
            try:
                return str(self.env.call(name)[0])
            except (AttributeError, NotImplementedError):
                continue
        return ""

    def _load(self, folder: Path) -> _Loaded:
        if folder not in self._loaded:
            settings, device = self.conditions.env, self.conditions.device
            flow = load_policy(folder, device)
            rename = settings.rename_for(flow.config, saved_rename(folder))
            pre, post = load_processors(folder, flow, device, rename)
            env_pre, env_post = make_env_pre_post_processors(self._config, flow.config)
            self._loaded[folder] = _Loaded(flow, pre, post, env_pre, env_post)
        return self._loaded[folder]

    def _observe(self, seen: Observation) -> Observation:
        return seen if self._look is None else self._look()

    def _frame(self) -> np.ndarray:
        return np.asarray(self.env.call("render")[0])


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
