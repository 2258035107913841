"""Plays demonstrations in worker processes, in the order of their seeds.

What comes out depends on the seeds alone, not on the number of processes.
"""

import multiprocessing
import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import torch

from reflow.demo.demonstrator import Demonstrator, Perturbation
from reflow.demo.rollout import Demonstration, demonstrate
from reflow.demo.scene import CubeRange, PickScene

_AHEAD = 2  # episodes in flight per process: busy workers, little memory

# One world per worker process, made by its initializer.
_world: tuple[PickScene, Demonstrator, Perturbation]


def _make_world(cube: CubeRange, perturbation: Perturbation) -> None:
    global _world
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software rendering: a process a core beats threads
    torch.set_num_threads(1)
    scene = PickScene(cube)
    _world = scene, Demonstrator(scene.physics.model.ptr), perturbation


def _play_one(seed: int) -> Demonstration:
    scene, demonstrator, perturbation = _world
    return demonstrate(scene, demonstrator, seed, perturbation=perturbation)


def play(
    seeds: Iterable[int], processes: int, cube: CubeRange, perturbation: Perturbation
) -> Generator[Demonstration]:
    """Plays the episodes of the given seeds, a few ahead of the reader.

    Args:
        seeds: One episode each.
        processes: Number of worker processes, 1 or more.
        cube: Where the cube may start.
        perturbation: How executed commands are pushed off the plan.

    Yields:
        Every episode, successful or not, in the order of `seeds`. Close the generator to stop early.

    Raises:
        RuntimeError: Nothing can be rendered on this machine.
    """
    PickScene(cube)  # fails here with a message; inside a worker it would only read as a broken pool
    rest = iter(seeds)
    pool = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),  # a GL context does not survive a fork
        initializer=_make_world,
        initargs=(cube, perturbation),
    )
    try:
        ahead = deque(pool.submit(_play_one, seed) for seed in islice(rest, _AHEAD * processes))
        while ahead:
            yield ahead.popleft().result()
            ahead.extend(pool.submit(_play_one, seed) for seed in islice(rest, 1))
    finally:
        pool.shutdown(cancel_futures=True)
