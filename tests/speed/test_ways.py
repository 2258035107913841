"""Chunks run in several ways, and the page that tells of them."""

from dataclasses import asdict

import pytest
from lerobot.utils.constants import OBS_STATE

from reflow.policies import with_velocity
from reflow.speed.latency import compare_ways
from reflow.speed.measure import SpeedSettings
from reflow.speed.page import page_of
from tests.rounding import of_policy
from tests.speed import recorder


@pytest.fixture
def one(workshop):
    batch = next(iter(workshop.data.train_dataloader()))
    return workshop.teacher.rows(batch, len(batch[OBS_STATE]), 1)


def test_a_graph_ends_where_eager_ends(monkeypatch, workshop, one):
    recorder.install(monkeypatch)
    policies = {"teacher": (workshop.teacher, 4), "student": (workshop.student, 1)}
    costs = compare_ways(policies, one, ("eager", "graphed"), repeats=1, warmup=0)
    assert [(cost.policy, cost.nfe, cost.way) for cost in costs] == [
        ("teacher", 4, "eager"), ("teacher", 4, "graphed"), ("student", 1, "eager"), ("student", 1, "graphed"),
    ]  # fmt: skip
    assert all(cost.why_not is None and cost.chunk_ms.median > 0 for cost in costs)
    assert all(cost.relative_difference < of_policy(workshop.student, whole=True) for cost in costs)


def test_what_cannot_be_run_so_says_why(monkeypatch, workshop, one):
    recorder.install(monkeypatch)
    flow = with_velocity(workshop.student, "stock")
    walk = type(flow).walk
    monkeypatch.setattr(
        type(flow),
        "walk",
        lambda self, context, noise, steps: walk(self, context, noise, int(noise.abs().max() < 9)),
    )
    monkeypatch.setattr(type(flow), "velocity_ways", {"stock": type(flow)})
    eager, compiled, graphed = sorted(
        compare_ways({"student": (flow, 1)}, one, ("eager", "compiled", "graphed"), repeats=1, warmup=0),
        key=lambda cost: ("eager", "compiled", "graphed").index(cost.way),
    )
    assert eager.why_not is None
    assert compiled.why_not == "a policy of type smolvla has no compiled velocity"
    assert graphed.why_not.startswith("cannot be recorded as a CUDA graph")
    assert graphed.chunk_ms is None


def test_the_page_holds_hardware_settings_versions_command_and_figures():
    spread = {"median": 2.0, "low": 1.0, "high": 3.0}
    way = {
        "policy": "student",
        "nfe": 1,
        "velocities_ms": spread,
        "relative_difference": 1e-7,
        "why_not": None,
    }
    row = {"name": "student", "nfe": 1, "prefix_p50_ms": 7.0, "prefix_p95_ms": 8.0}
    row |= {f"{part}_{rank}_ms": 9.0 for part in ("velocity", "total") for rank in ("p50", "p95")}
    standing = {"variant": "live_8", "label": "live K=8", "pairs_per_second": spread, "ratio": spread}
    peaks = [{"variant": "live_8", "compared": 3e9}, {"variant": "student alone", "compared": 2e9}]
    page = page_of(
        {
            "size": "smolvla-1",
            "command": "python -m reflow.benchmark size=smolvla-1",
            "hardware": {
                "processor": "A processor", "cores": 4, "threads": 4, "system": "Linux", "gpu": "Some GPU",
                "gpu_memory": 80e9, "cuda": "13.0", "device": "cuda", "matmul_precision": "highest",
                "versions": {"torch": "2.11.0"},
            },
            "settings": asdict(SpeedSettings()),
            "standings": [standing | {"limit_share": {"median": 0.5}}],
            "memory": peaks,
            "flops": [{"variant": "live_8", "rate": 4e14, "share_of_peak": 0.404}],
            "latency": {"rows": [row], "stock_ms": spread, "over_floor": spread},
            "ways": [
                way | {"way": "eager", "chunk_ms": {**spread, "median": 4.0}},
                way | {"way": "graphed", "chunk_ms": spread},
                way | {"way": "compiled", "why_not": "no such | thing\\nat all"},
            ],
            "velocities": [],
        }
    )  # fmt: skip
    for line in (
        "python -m reflow.benchmark size=smolvla-1",
        "| GPU | Some GPU, 80.00 GB |",
        "| torch | 2.11.0 |",
        "| rounds | 5 |",
        "| live K=8 | 2 | 2.00 (1.00 to 3.00) | 50.0 % | 3.00 GB | 1.50 | 400 | 40.4 % |",
        "| student alone |  |  |  | 2.00 GB | 1.00 |  |  |",
        "| student, 1 step | graphed | 2 (1 to 3) | 2 (1 to 3) | 2.00 | 1.0e-07 |",
        "| student, 1 step | compiled | no such / thing",
    ):
        assert line in page
    rows = [line for line in page.splitlines() if line.startswith("| ")]
    assert all(line.endswith(" |") for line in rows)


def test_unknown_ways_are_refused():
    with pytest.raises(ValueError, match="latency_ways holds slow; allowed: eager, compiled, graphed"):
        SpeedSettings(latency_ways=("slow",))
