"""Plays demonstrations in worker processes, in the order of their seeds.

What comes out depends on the seeds alone, not on the number of processes.
"""

from collections.abc import Callable, Generator, Sequence
from functools import partial

from reflow.demo.demonstrator import Demonstrator, Perturbation
from reflow.demo.rollout import Demonstration, demonstrate
from reflow.demo.scene import CubeRange, PickScene
from reflow.simulator.workers import in_order, run_jobs


def play(
    seeds: Sequence[int], processes: int, cube: CubeRange, perturbation: Perturbation
) -> Generator[Demonstration]:
    """Plays the episodes of the given seeds.

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
    return in_order(run_jobs(partial(_make_worker, cube, perturbation), seeds, processes), seeds)


def _make_worker(cube: CubeRange, perturbation: Perturbation) -> Callable[[int], Demonstration]:
    scene = PickScene(cube)
    return partial(demonstrate, scene, Demonstrator(scene.physics.model.ptr), perturbation=perturbation)
