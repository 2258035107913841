"""Records what a playing policy gets to see, as a data set to distill on: ``python -m reflow.rollouts env=pick``.

The teacher says what to do with each observation when they are distilled on, whoever played. Interrupted, the same
command goes on; what comes out depends on the configuration alone, not on the number of processes.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

from omegaconf import DictConfig

from reflow.cli import command
from reflow.config.rollouts import ROLLOUTS, Rollouts
from reflow.data.waiting import WaitingEpisodes
from reflow.simulator.recorder import Recorder, layout_of
from reflow.simulator.runtime import check_player
from reflow.simulator.workers import run_jobs


def record(asked: Rollouts) -> Path:
    """Plays the episodes that are missing, reporting progress, and writes the data set.

    Returns:
        Its folder.

    Raises:
        UserError: bad input, before anything is played; or what waits is of another recording.
    """
    waiting = WaitingEpisodes(asked.root, asked.identity)
    check_player(asked.conditions.env, asked.policy)
    missing = [seed for seed in asked.seeds if str(seed) not in waiting]
    if len(missing) < len(asked.seeds):
        print(f"{len(asked.seeds) - len(missing)} of {len(asked.seeds)} episodes are there", flush=True)
    waiting.begin()
    start, succeeded = time.monotonic(), 0
    make = partial(Recorder, asked.conditions, asked.policy, asked.watching)
    for number, (seed, episode) in enumerate(run_jobs(make, missing, asked.processes), 1):
        waiting.add(str(seed), episode)
        succeeded += episode.success
        if number % 100 == 0 or number == len(missing):
            seconds = time.monotonic() - start
            print(f"{number}/{len(missing)} episodes, {seconds:.0f} s; {succeeded} succeeded", flush=True)
    env = asked.conditions.env
    layout = layout_of(waiting.read(str(asked.seeds[0])), round(env.make_config().fps), env.type)
    return waiting.finish(layout, map(str, asked.seeds))


@command("rollouts", ROLLOUTS)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    print(f"written to {record(Rollouts.from_config(config))}")


if __name__ == "__main__":
    main()
