"""The simulated queue of docs/cluster.md is what one reckons by hand, where one can."""

from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest

spec = spec_from_file_location("cluster_queue", Path(__file__).parents[1] / "docs" / "cluster_queue.py")
assert spec is not None
assert spec.loader is not None
queue = module_from_spec(spec)
spec.loader.exec_module(queue)
QUIET = replace(queue.Cluster(), between_failures=1e12)


@pytest.mark.parametrize("work", [14, 100, 530])
def test_without_failures_an_element_a_node_is_off_by_one_start(
    work: float,
) -> None:
    wall, used = queue.simulated(QUIET, work, QUIET.nodes)
    expected_wall, expected = queue.by_hand(QUIET, work)
    assert 0 <= used - expected <= QUIET.nodes * QUIET.load
    assert abs(wall - expected_wall) <= QUIET.wait + QUIET.load


def test_failures_cost_what_they_lose() -> None:
    often = replace(queue.Cluster(), between_failures=8.0)
    runs = [queue.simulated(often, 530, 16, seed)[1] for seed in range(20)]
    lost = sum(runs) / len(runs) - queue.by_hand(often, 530)[1]
    # A failure costs one more load and part of a shard, and every eighth hour has one.
    assert 0 < lost < 2 * 530 / 8 * (often.load + often.shard)


def test_all_the_work_is_done_on_a_single_node() -> None:
    one = replace(QUIET, nodes=1, wait=0.0, load=0.0)
    wall, used = queue.simulated(one, 10, 4)
    assert wall == pytest.approx(10)
    assert used == pytest.approx(10)
