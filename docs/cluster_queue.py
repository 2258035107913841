"""A queue on paper: wall time and node-hours of a pair cache of 530 node-hours, with requeues and failures.

    .venv/bin/python docs/cluster_queue.py

Beside the simulation stands what one would reckon by hand; docs/cluster.md quotes both.
"""

import heapq
import random
from dataclasses import dataclass


@dataclass(frozen=True)
class Cluster:
    """What the queue does to an array of jobs, in hours.

    Attributes:
        nodes: that run at once.
        limit: of one start of a job.
        wait: in the queue, before every start.
        load: from a job's start to its first shard.
        between_failures: of one node, on average; the job goes back into the queue, and its last shard is lost.
        shard: to make one.
    """

    nodes: int = 16
    limit: float = 4.0
    wait: float = 0.5
    load: float = 5 / 60
    between_failures: float = 1000.0
    shard: float = 13 / 3600


def simulated(cluster: Cluster, work: float, elements: int, seed: int = 0) -> tuple[float, float]:
    """Wall time and node-hours of an array whose elements share the work evenly."""
    chance, left = random.Random(seed), [work / elements] * elements
    queue = [(cluster.wait, element) for element in range(elements)]
    free, used, end = [0.0] * cluster.nodes, 0.0, 0.0
    while queue:
        ready, element = heapq.heappop(queue)
        begin = max(ready, heapq.heappop(free))
        failure = chance.expovariate(1 / cluster.between_failures)
        ran = min(cluster.limit, failure, cluster.load + left[element])
        made = max(0.0, ran - cluster.load)
        left[element] -= made // cluster.shard * cluster.shard if ran == failure else made
        used, end = used + ran, begin + ran
        heapq.heappush(free, end)
        if left[element] > 0:
            heapq.heappush(queue, (end + cluster.wait, element))
    return max(free), used


def by_hand(cluster: Cluster, work: float) -> tuple[float, float]:
    """The same without failures: every start loses its load, and waits."""
    used = work / (1 - cluster.load / cluster.limit)
    return used / cluster.nodes * (1 + cluster.wait / cluster.limit), used


if __name__ == "__main__":
    for work, elements in ((530, 64), (530, 16), (14, 16)):
        cluster = Cluster()
        runs = [simulated(cluster, work, elements, seed) for seed in range(200)]
        wall, used = (sum(run[part] for run in runs) / len(runs) for part in (0, 1))
        print(f"{work} node-hours in {elements} elements: {wall:.1f} h, {used:.1f} node-hours", end="; ")
        print("by hand {:.1f} h, {:.1f} node-hours".format(*by_hand(cluster, work)))
