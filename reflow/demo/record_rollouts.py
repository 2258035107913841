"""Records what a deployed policy gets to see: observations to distill on, where deployment meets them.

    python -m reflow.demo.record_rollouts root=outputs/pick_rollouts episodes=2000 processes=2

Distillation needs observations, not actions: the teacher says what to do with each. So the policy itself plays,
and its looks are recorded, from as many cube positions as one likes. Playing some chunks at fewer integration
steps than it needs pushes episodes off the teacher's way, to where a student that is not perfect will get.
What comes out depends on the configuration only, not on the number of processes.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
import numpy as np
import torch
from omegaconf import DictConfig, OmegaConf

from reflow.config_path import CONFIG_DIR
from reflow.demo import embedded
from reflow.demo.dataset import TASK, check_new_root, write_dataset
from reflow.demo.frames import shrink_frame
from reflow.demo.scene import Observation, PickScene, is_picked
from reflow.flow import Draws
from reflow.policies import find_folder, load_policy, load_processors


@dataclass(frozen=True)
class RolloutConfig:
    """What to record; ``conf/record_rollouts.yaml`` holds the defaults of the command line.

    Attributes:
        root: folder to create.
        policy: folder of the policy that plays.
        episodes: to play, 1 or more.
        seed: of the first episode; evaluate on seeds outside the range used.
        steps: integration steps of the chunks; each chunk draws one of them.
        looks: most looks of an episode; it ends early on success.
        between: further observations per chunk, at control steps drawn at random.
        processes: number of simulating processes, 1 or more.
    """

    root: Path
    policy: Path
    episodes: int
    seed: int
    steps: tuple[int, ...]
    looks: int
    between: int
    processes: int

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("seed", 0), ("looks", 1), ("between", 0), ("processes", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}={getattr(self, name)}; allowed: {least} or more")
        if not self.steps or min(self.steps) < 1:
            raise ValueError(f"steps={list(self.steps)}; allowed: one or more numbers, each 1 or more")


@dataclass(frozen=True)
class Rollout:
    """What was seen in one episode: T observations, the rows in the order they were seen in.

    Attributes:
        seed: decides cube, noise and step counts.
        at: (T,) control steps of the observations.
        success: whether the cube was picked.
        frames: (T, 72, 96, 3) uint8.
        states: (T, 14) float32 joint angles in rad, normalized grippers.
        actions: (T, 14) float32, the action executed next.
    """

    seed: int
    at: tuple[int, ...]
    success: bool
    frames: np.ndarray
    states: np.ndarray
    actions: np.ndarray

    def summary(self) -> dict[str, Any]:
        """What the data set's own table says about this episode."""
        return {"seed": self.seed, "at": list(self.at), "success": self.success, "steps": len(self.at)}


class Player:
    """A policy in the scene, playing as LeRobot plays it.

    Args:
        config: what to record.
    """

    def __init__(self, config: RolloutConfig) -> None:
        self.config, self.scene, self.draws = config, PickScene(), Draws(config.seed)
        self.flow = load_policy(config.policy)
        self.preprocess, self.postprocess = load_processors(config.policy, self.flow)

    def play(self, seed: int) -> Rollout:
        """Plays and records the episode of a seed."""
        random = np.random.default_rng(seed)
        self.scene.reset(seed)
        seen: list[Observation] = []
        at: list[int] = []
        actions: list[np.ndarray] = []
        rewards: list[int] = []
        for look in range(self.config.looks):
            observation = self.scene.observe()
            chunk = self.chunk(observation, seed, look, int(random.choice(self.config.steps)))
            extra = set(random.integers(1, len(chunk), self.config.between).tolist())
            for step, action in enumerate(chunk):
                if step == 0 or step in extra:
                    seen.append(self.scene.observe() if step else observation)
                    at.append(len(rewards))
                    actions.append(action)
                rewards.append(self.scene.step(action.astype(np.float64)))
            if is_picked(rewards):
                break
        return Rollout(
            seed=seed,
            at=tuple(at),
            success=is_picked(rewards),
            frames=np.stack([shrink_frame(observation.image) for observation in seen]),
            states=np.stack([observation.state for observation in seen]).astype(np.float32),
            actions=np.stack(actions).astype(np.float32),
        )

    def chunk(self, seen: Observation, seed: int, look: int, steps: int) -> np.ndarray:
        """(n_action_steps, 14) actions in physical units."""
        self.flow.num_steps = steps
        image = torch.from_numpy(seen.image).permute(2, 0, 1)[None].float() / 255.0
        state = torch.from_numpy(seen.state)[None].float()
        batch = self.preprocess({"observation.images.top": image, "observation.state": state, "task": [TASK]})
        space = self.flow.space
        noise = self.draws.noise(
            torch.tensor([seed]), torch.tensor([[look]]), (space.chunk_size, space.max_action_dim)
        )
        actions = self.postprocess(self.flow.policy.predict_action_chunk(batch, noise=noise[:, 0]))
        return actions[0, : self.flow.config.n_action_steps].numpy()


_player: Player  # one per worker process, made by its initializer


def _start(config: RolloutConfig) -> None:
    global _player
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software rendering: a process a core beats threads
    torch.set_num_threads(1)
    _player = Player(config)


def _play(seed: int) -> Rollout:
    return _player.play(seed)


def rollouts(config: RolloutConfig) -> Iterator[Rollout]:
    """Plays all episodes, reporting progress; yields them in the order of their seeds."""
    start = time.monotonic()
    PickScene()  # fails here with a message; inside a worker it would only read as a broken pool
    context = multiprocessing.get_context("spawn")  # a GL context does not survive a fork
    with ProcessPoolExecutor(config.processes, context, _start, (config,)) as pool:
        succeeded = 0
        seeds = range(config.seed, config.seed + config.episodes)
        for number, rollout in enumerate(pool.map(_play, seeds, chunksize=4), 1):
            succeeded += rollout.success
            yield rollout
            if number % 100 == 0 or number == config.episodes:
                seconds = time.monotonic() - start
                print(f"{number}/{config.episodes} episodes, {seconds:.0f} s; {succeeded} picked", flush=True)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="record_rollouts")
def main(cfg: DictConfig) -> None:
    """Command line entry."""
    values: Any = OmegaConf.to_container(cfg)
    policy = find_folder(values.pop("policy") or embedded.TEACHER, "policy")
    values |= {"root": Path(values["root"]), "steps": tuple(values["steps"]), "policy": policy}
    config = RolloutConfig(**values)
    check_new_root(config.root)
    print(f"written to {write_dataset(config.root, rollouts(config))}")


if __name__ == "__main__":
    main()
