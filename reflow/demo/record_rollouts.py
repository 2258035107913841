"""Records what a deployed policy gets to see: observations to distill on, where deployment meets them.

    python -m reflow.demo.record_rollouts run_dir=outputs/pick_rollouts episodes=2000 processes=2

Distillation needs observations, not actions: the teacher says what to do with each. So the policy itself plays,
and its looks are recorded, from as many cube positions as one likes. Playing some chunks at fewer integration
steps than it needs pushes episodes off the teacher's way, to where a student that is not perfect will get.
What comes out depends on the configuration only, not on the number of processes.
"""

# No `from __future__ import annotations` here. A worker process runs this file as `__mp_main__`, importing `datasets`
# puts another module under that name, and annotations that are text could not be looked up any more.

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from lerobot.configs import PreTrainedConfig
from omegaconf import DictConfig

from reflow.cli import command, plain
from reflow.data.recording import Recorded, check_new_root, write_dataset
from reflow.data.shrink import shrink_frame
from reflow.demo import embedded
from reflow.demo.dataset import BOX, PICK, TASK
from reflow.demo.pick_env import pick_environment
from reflow.errors import UserError
from reflow.policies import find_folder
from reflow.schema import schema_of
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.looking import Observation
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.workers import in_order, run_jobs


@dataclass(frozen=True)
class RolloutConfig:
    """What to record; ``conf/record_rollouts.yaml`` holds the defaults of the command line.

    Attributes:
        root: folder to create.
        policy: folder of the policy that plays.
        episodes: to play, 1 or more.
        seed: of the first episode; evaluate on seeds outside the range used.
        steps: integration steps of the chunks; each chunk draws one of them.
        looks: most looks of an episode; it ends with the chunk that picks the cube.
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
                raise UserError(f"{name}={getattr(self, name)}; allowed: {least} or more")
        if not self.steps or min(self.steps) < 1:
            raise UserError(f"steps={list(self.steps)}; allowed: one or more numbers, each 1 or more")


class Recorder:
    """Records a policy that plays as it is deployed (:class:`reflow.simulator.rollout.Player`).

    Args:
        config: what to record.
    """

    def __init__(self, config: RolloutConfig) -> None:
        self.config, self.policy = config, Contender("policy", config.policy, config.steps[0])
        chunk = PreTrainedConfig.from_pretrained(config.policy).n_action_steps
        env = pick_environment(episode_length=config.looks * chunk)
        self.player = Player(Conditions(env, noise_seed=config.seed))
        self.player.env.envs[0].unwrapped.ends_every = chunk

    def __call__(self, seed: int) -> Recorded:
        """Plays and records the episode of a seed; it tells at which control steps (``at``) its rows were seen."""
        random = np.random.default_rng(seed)
        seen: list[tuple[int, Observation, np.ndarray]] = []
        due: set[int] = set()

        def watch(now: Moment) -> None:
            if now.length:
                due.update({now.step} | {now.step + at for at in between(now.length)})
            if now.step in due:
                seen.append((now.step, now.observe(), now.action))

        def between(length: int) -> list[int]:
            return random.integers(1, length, self.config.between).tolist()

        episode, _ = self.player.play(self.policy, seed, watch, lambda: int(random.choice(self.config.steps)))
        return Recorded(
            seed=seed,
            task=TASK,
            success=episode.success,
            frames=np.stack([shrink_frame(now["pixels"]["top"][0], BOX) for _, now, _ in seen]),
            states=np.stack([now["agent_pos"][0] for _, now, _ in seen]).astype(np.float32),
            actions=np.stack([action for _, _, action in seen]).astype(np.float32),
            told={"at": [step for step, _, _ in seen]},
        )


def rollouts(config: RolloutConfig) -> Iterator[Recorded]:
    """Plays all episodes, reporting progress; yields them in the order of their seeds."""
    start, succeeded = time.monotonic(), 0
    seeds = range(config.seed, config.seed + config.episodes)
    played = in_order(run_jobs(partial(Recorder, config), seeds, config.processes), seeds)
    for number, rollout in enumerate(played, 1):
        succeeded += rollout.success
        yield rollout
        if number % 100 == 0 or number == config.episodes:
            seconds = time.monotonic() - start
            print(f"{number}/{config.episodes} episodes, {seconds:.0f} s; {succeeded} picked", flush=True)


ROLLOUTS = schema_of(RolloutConfig, but=("root",), run_dir=str, policy=str | None)


@command("record_rollouts", ROLLOUTS, renamed={"root": "run_dir"})
def main(config: DictConfig) -> None:
    """Command line entry."""
    values = plain(config)
    policy = find_folder(values.pop("policy") or embedded.TEACHER, "policy")
    values |= {"root": Path(values.pop("run_dir")), "steps": tuple(values["steps"]), "policy": policy}
    settings = RolloutConfig(**values)
    check_new_root(settings.root)
    print(f"written to {write_dataset(settings.root, PICK, rollouts(settings))}")


if __name__ == "__main__":
    main()
