"""Success of one policy on the demo task, at several step counts, on the same seeds and noise.

    python -m reflow.demo.measure policy.path=outputs/teacher/pretrained_model

It plays as ``python -m reflow.evaluate`` does, which compares two policies and needs both.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from reflow.cli import command
from reflow.demo import embedded
from reflow.demo.pick_env import pick_environment
from reflow.files import write_json
from reflow.policies import find_folder
from reflow.schema import schema
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.journal import Episode
from reflow.simulator.play import simulate
from reflow.simulator.success import success_of


def measure(
    folder: Path, steps: Sequence[int], seeds: Sequence[int], control_steps: int = 150, processes: int = 2
) -> list[Episode]:
    """Plays every seed at each step count.

    Args:
        folder: a complete policy folder.
        steps: integration steps of each chunk.
        seeds: of the episodes.
        control_steps: length of an episode; it ends early on success.
        processes: that play in parallel.
    """
    conditions = Conditions(pick_environment(episode_length=control_steps))
    contenders = [Contender("policy", folder, n) for n in steps]
    with tempfile.TemporaryDirectory() as journal:
        return simulate(conditions, contenders, seeds, folder=Path(journal), processes=processes)


MEASURE = schema(
    policy=schema(path=str | None),
    steps=list[int],
    episodes=int,
    first_seed=int,
    control_steps=int,
    processes=int,
    run_dir=str | None,
)


@command("measure", MEASURE, renamed={"output": "run_dir (a folder: measure.json goes there)"})
def main(config: DictConfig) -> None:
    """Command-line entry."""
    folder = find_folder(config.policy.path or embedded.TEACHER, "policy.path")
    seeds = range(config.first_seed, config.first_seed + config.episodes)
    start = time.perf_counter()
    episodes = measure(folder, list(config.steps), seeds, config.control_steps, config.processes)
    table = Table("steps", "success", "95 % interval", title=f"{len(seeds)} episodes, seeds from {seeds[0]}")
    for row in success_of(episodes).rows:
        rate = f"{row.successes / row.episodes:.1%}"
        table.add_row(str(row.num_steps), rate, f"{row.low:.1%} to {row.high:.1%}")
    Console().print(table)
    print(f"{time.perf_counter() - start:.0f} s")
    if config.run_dir is not None:
        found = {n: [one for one in episodes if one.num_steps == n] for n in config.steps}
        content = {
            str(n): {"seeds": [one.seed for one in played], "success": [one.success for one in played]}
            for n, played in found.items()
        }
        write_json(Path(config.run_dir) / "measure.json", content)


if __name__ == "__main__":
    main()
