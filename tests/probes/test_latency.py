"""Times are of what they say: one look, then so many velocities."""

import time

import pytest

from reflow.probes.latency import measure_latency
from tests.builders import make_batch, make_policy, make_vlm_folder


@pytest.fixture(scope="module")
def flow(tmp_path_factory):
    return make_policy(make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm"))


def test_splits_a_chunk_into_look_and_walk(flow, monkeypatch):
    """On a clock that counts 1 ms for a look and 10 ms for a velocity, the figures are those."""
    now = [0.0]
    encode, velocity = type(flow).encode, type(flow).velocity

    def slow_encode(self, batch):
        now[0] += 1e-3
        return encode(self, batch)

    def slow_velocity(self, *arguments):
        now[0] += 10e-3
        return velocity(self, *arguments)

    monkeypatch.setattr(type(flow), "encode", slow_encode)
    monkeypatch.setattr(type(flow), "velocity", slow_velocity)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    found = measure_latency("student", flow, make_batch(flow, 1), [1, 4], repeats=3, warmup=1)
    assert [(entry.name, entry.nfe) for entry in found] == [("student", 1), ("student", 4)]
    for entry in found:
        assert entry.prefix_p50_ms == pytest.approx(1.0)
        assert entry.prefix_p95_ms == pytest.approx(1.0)
        assert entry.velocity_p50_ms == pytest.approx(10.0 * entry.nfe)
        assert entry.velocity_p95_ms == pytest.approx(10.0 * entry.nfe)
        assert entry.total_p50_ms == pytest.approx(1.0 + 10.0 * entry.nfe)
        assert entry.total_p95_ms == pytest.approx(1.0 + 10.0 * entry.nfe)


def test_warming_up_is_not_timed(flow, monkeypatch):
    now, looks = [0.0], [0]
    encode = type(flow).encode

    def first_is_slow(self, batch):
        looks[0] += 1
        now[0] += 1.0 if looks[0] <= 2 else 1e-3
        return encode(self, batch)

    monkeypatch.setattr(type(flow), "encode", first_is_slow)
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    (found,) = measure_latency("student", flow, make_batch(flow, 1), [1], repeats=4, warmup=2)
    assert looks[0] == 6
    assert found.prefix_p95_ms == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("size", "changes", "message"),
    [
        (2, {}, "batch holds 2 observations; a robot has 1 at a time"),
        (1, {"repeats": 0}, "repeats=0, warmup=5, nfe=.1.; allowed: 1 or more"),
        (1, {"nfe": []}, r"nfe=\[\]"),
        (1, {"nfe": [0]}, r"nfe=\[0\]"),
    ],
)
def test_rejects_what_cannot_be_timed(flow, size, changes, message):
    with pytest.raises(ValueError, match=message):
        measure_latency("student", flow, make_batch(flow, size), **{"nfe": [1], **changes})
