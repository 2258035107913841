"""Who acts on what an environment shows: a policy with its processors, or anything else that gives commands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from lerobot.configs import PreTrainedConfig
from lerobot.envs.configs import EnvConfig
from lerobot.envs.factory import make_env_pre_post_processors
from lerobot.envs.utils import preprocess_observation
from lerobot.utils.constants import ACTION, OBS_STATE

from reflow.flow import Draws
from reflow.policies import Batch, check_way, load_policy, load_processors, next_chunk, saved_rename
from reflow.simulator.delay import Timing
from reflow.simulator.environment import EnvironmentSettings, check_look
from reflow.simulator.journal import Key
from reflow.simulator.looking import Observation


class Actor(Protocol):
    """Acts on observations, a chunk of commands at a time."""

    @property
    def name(self) -> str:
        """Of the episodes' player."""

    @property
    def num_steps(self) -> int:
        """Integration steps of each chunk; 0 for what integrates nothing."""

    @property
    def memory(self) -> int:
        """How many observations it acts on: the present one, and those of the control steps just before.

        0 for what looks at nothing, and for whom nothing is rendered.
        """

    def start(self, seed: int) -> None:
        """An episode begins, and with it the memory of this actor."""

    def act(self, seen: Sequence[Observation], task: str, left: int) -> Sequence[np.ndarray]:
        """The commands from now on, as many as can be played before those of the next look.

        Args:
            seen: its ``memory`` of observations, the present one last; each a batch of one, rendered. What an episode
                has not yet had is its first one.
            task: the environment's instruction.
            left: commands of its last answer that were not played yet.

        Returns:
            One or more, each [a] in physical units.
        """


@dataclass(frozen=True)
class Contender:
    """A policy at a number of steps, and how its chunks are played.

    Attributes:
        name: teacher, student, ...
        folder: its ``pretrained_model`` folder.
        num_steps: integration steps of each chunk, 1 or more.
        n_action_steps: actions played of each chunk; None for the policy's own number.
        delay: control steps from a look to its chunk, during which the world goes on; 0 where it waits.
        rtc: how a chunk follows the one before (:mod:`reflow.policies.joining`); None: without knowing of it.
    """

    name: str
    folder: Path
    num_steps: int
    n_action_steps: int | None = None
    delay: int = 0
    rtc: str | None = None

    @property
    def label(self) -> str:
        """For people: "student, 1 step"."""
        label = f"{self.name}, {self.num_steps} step{'s' * (self.num_steps != 1)}"
        if self.n_action_steps is not None:
            label += f", {self.n_action_steps} action{'s' * (self.n_action_steps != 1)}"
        label += f", {self.delay} late" * (self.delay > 0)
        return label if self.rtc is None else f"{label}, {self.rtc}"

    def key(self, seed: int) -> Key:
        """Of its episode of a seed."""
        return Key(self.name, self.num_steps, seed, self.n_action_steps, self.delay, self.rtc)


@dataclass(frozen=True)
class Conditions:
    """What all contenders share.

    Attributes:
        env: the environment.
        noise_seed: with the episode's seed and the look it gives the noise.
        device: where the policies run.
    """

    env: EnvironmentSettings
    noise_seed: int = 7
    device: str = "cpu"


class PolicyActor:
    """A policy, run as LeRobot runs it: environment and policy processors around stock ``predict_action_chunk``.

    The noise is a function of (noise seed, episode seed, look), so that every contender starts from the same numbers.

    Args:
        folder: of the policy.
        conditions: noise and device.
        config: of the environment.
    """

    def __init__(self, folder: Path, conditions: Conditions, config: EnvConfig) -> None:
        self.conditions, self._draws = conditions, Draws(conditions.noise_seed)
        self._flow = load_policy(folder, conditions.device)
        rename = conditions.env.rename_for(self._flow.config, saved_rename(folder))
        self._pre, self._post = load_processors(folder, self._flow, conditions.device, rename)
        self._env_pre, self._env_post = make_env_pre_post_processors(config, self._flow.config)
        self.memory = 1 - min(self._flow.config.observation_delta_indices or (0,))
        self.own_steps, self.rename = self._flow.num_steps, rename

    @property
    def config(self) -> PreTrainedConfig:
        """LeRobot's configuration of the policy."""
        return self._flow.config

    def observed(self, observation: Observation) -> Batch:
        """State and cameras by the policy's names, as a data set would give them: before any normalisation."""
        batch = self._env_pre(preprocess_observation(observation) | {"task": [""]})
        return {self.rename.get(key, key): value for key, value in batch.items() if torch.is_tensor(value)}

    def play_as(self, contender: Contender, num_steps: Callable[[], int] | None = None) -> PolicyActor:
        """The same policy as a contender plays it, or at the steps that are asked for before each chunk."""
        self.name, self.num_steps = contender.name, contender.num_steps
        self.timing = Timing(contender.n_action_steps or self._flow.config.n_action_steps, contender.delay)
        check_way(self._flow, contender.rtc)
        self._rtc = contender.rtc
        self._next_steps = num_steps or (lambda: contender.num_steps)
        return self

    def start(self, seed: int) -> None:
        """Forgets the last episode."""
        self._seed, self._look = torch.tensor([seed]), 0
        self._before: torch.Tensor | None = None  # the last chunk, normalised
        self._flow.policy.reset()

    def act(self, seen: Sequence[Observation], task: str, left: int) -> list[np.ndarray]:
        """The chunk that the policy would play now, as far as it can be played."""
        self._flow.num_steps = self._next_steps()
        batch = self._batch(seen, task)
        if self._look == 0:
            check_look(self.conditions.env, batch, self._flow.config, self.name)
        noise = self._flow.noise(self._draws, self._seed, torch.tensor([[self._look]]))[:, 0]
        self._look += 1
        with torch.no_grad():  # and no inference mode: LeRobot's guidance asks for a gradient
            chunk = self._chunk(batch, noise.to(self.conditions.device), left)
        return [self._command(action) for action in chunk.transpose(0, 1)[: self.timing.reach]]

    def _chunk(self, batch: Batch, noise: torch.Tensor, left: int) -> torch.Tensor:
        before = self._before
        if before is None:
            chunk = self._flow.stock_chunk(batch, noise)
        else:
            unplayed = before[:, min(self.timing.reach or before.shape[1], before.shape[1]) - left :]
            chunk = next_chunk(self._flow, batch, noise, unplayed, min(self.timing.delay, left), self._rtc)
        self._before = chunk
        return chunk

    def _batch(self, seen: Sequence[Observation], task: str) -> Batch:
        """The present, with state and cameras ``[1, memory, ...]`` where there is a past."""
        batches = [self._pre(self._env_pre(preprocess_observation(one) | {"task": [task]})) for one in seen]
        if self.memory == 1:
            return batches[-1]
        observed = [key for key in (OBS_STATE, *self._flow.config.image_features) if key in batches[-1]]
        return batches[-1] | {key: torch.stack([batch[key] for batch in batches], 1) for key in observed}

    def _command(self, action: torch.Tensor) -> np.ndarray:
        return self._env_post({ACTION: self._post(action)})[ACTION].to("cpu").numpy()[0]
