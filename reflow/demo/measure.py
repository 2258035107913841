"""Success of a policy on the demo task, in the real simulator, on given seeds.

    python -m reflow.demo.measure policy.path=outputs/teacher/pretrained_model

The policy runs as LeRobot runs it: its saved processors, ``predict_action_chunk`` of the stock class,
``n_action_steps`` of each chunk. Noise is a function of (episode seed, look), so every step count starts from
the same numbers. The scene is rendered only when the policy looks.
"""

from __future__ import annotations

import json
import multiprocessing
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import hydra
import numpy as np
import torch
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from reflow.config_path import CONFIG_DIR
from reflow.demo import embedded
from reflow.demo.scene import PickScene, is_picked
from reflow.flow import Draws
from reflow.metrics import wilson_interval
from reflow.policies import find_folder, load_policy, load_processors

TASK = "pick up the cube"
NOISE_SEED = 7


@dataclass(frozen=True)
class Result:
    """Successes of one policy at one step count.

    Attributes:
        steps: integration steps.
        seeds: of the episodes.
        success: whether the cube was held off the table for five control steps, one per seed.
    """

    steps: int
    seeds: tuple[int, ...]
    success: tuple[bool, ...]

    @property
    def interval(self) -> tuple[float, float]:
        """95 % Wilson interval of the success rate."""
        return wilson_interval(sum(self.success), len(self.success))


def roll_out(folder: Path, seeds: Sequence[int], steps: int, control_steps: int = 150) -> list[bool]:
    """Plays one episode per seed.

    Args:
        folder: a complete policy folder.
        seeds: of the episodes.
        steps: integration steps of each chunk.
        control_steps: length of an episode; it ends early on success.
    """
    torch.set_num_threads(1)
    flow = load_policy(folder)
    flow.num_steps = steps
    preprocess, postprocess = load_processors(folder, flow)
    scene, draws, space = PickScene(), Draws(NOISE_SEED), flow.space
    outcome = []
    for seed in seeds:
        scene.reset(seed)
        rewards: list[int] = []
        for look in range(-(-control_steps // flow.config.n_action_steps)):
            seen = scene.observe()
            batch = preprocess(
                {
                    "observation.images.top": torch.from_numpy(seen.image).permute(2, 0, 1)[None].float()
                    / 255.0,
                    "observation.state": torch.from_numpy(seen.state)[None].float(),
                    "task": [TASK],
                }
            )
            noise = draws.noise(
                torch.tensor([seed]), torch.tensor([[look]]), (space.chunk_size, space.max_action_dim)
            )[:, 0]
            chunk = postprocess(flow.policy.predict_action_chunk(batch, noise=noise))[0].numpy()
            for action in chunk[: min(flow.config.n_action_steps, control_steps - len(rewards))]:
                rewards.append(scene.step(action.astype(np.float64)))
            if is_picked(rewards):
                break
        outcome.append(is_picked(rewards))
    return outcome


def measure(
    folder: Path, steps: Sequence[int], seeds: Sequence[int], control_steps: int = 150, processes: int = 2
) -> list[Result]:
    """Success at each step count, on the same seeds, in parallel processes."""
    parts = [tuple(seeds[start::processes]) for start in range(processes)]
    order = np.argsort(
        np.concatenate([np.arange(len(seeds))[start::processes] for start in range(processes)])
    )
    results = []
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn")) as pool:
        for n in steps:
            play = partial(roll_out, folder, steps=n, control_steps=control_steps)
            flat = [success for part in pool.map(play, parts) for success in part]
            results.append(Result(n, tuple(seeds), tuple(flat[i] for i in order)))
    return results


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="measure")
def main(config: DictConfig) -> None:
    """Command-line entry."""
    folder = find_folder(config.policy.path or embedded.TEACHER, "policy.path")
    seeds = list(range(config.first_seed, config.first_seed + config.episodes))
    start = time.perf_counter()
    results = measure(folder, list(config.steps), seeds, config.control_steps, config.processes)
    table = Table(
        "steps", "success", "95 % interval", title=f"{config.episodes} episodes, seeds from {seeds[0]}"
    )
    for result in results:
        low, high = result.interval
        table.add_row(str(result.steps), f"{np.mean(result.success):.1%}", f"{low:.1%} to {high:.1%}")
    Console().print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if config.output is not None:
        content = {
            str(result.steps): {"seeds": result.seeds, "success": result.success} for result in results
        }
        Path(config.output).write_text(json.dumps(content) + "\n")


if __name__ == "__main__":
    main()
