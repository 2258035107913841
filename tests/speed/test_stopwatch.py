"""Parts of a step: each moment counted once, and what was wrapped is as before afterwards."""

import time

import pytest
import torch
from torch import nn

from reflow.speed.stopwatch import REST, Stopwatch


class Worker(nn.Module):
    def outer(self):
        time.sleep(0.02)
        return self.inner()

    def inner(self):
        time.sleep(0.03)
        return 7

    def field(self, context):
        time.sleep(0.01)
        return lambda x_t, t: self.inner()


def test_parts_add_up_to_the_whole_and_an_inner_part_is_taken_out():
    watch, worker = Stopwatch(), Worker()
    start = time.perf_counter()
    with watch.step(), watch.around((worker, "outer", "out"), (worker, "inner", "in")):
        assert worker.outer() == 7
        time.sleep(0.01)
    whole = time.perf_counter() - start
    parts = watch.seconds
    assert set(parts) == {"out", "in", REST}
    assert sum(parts.values()) <= whole
    assert parts["out"] >= 0.02
    assert parts["in"] >= 0.03
    assert parts[REST] >= 0.01
    assert parts["out"] + parts["in"] + parts[REST] == pytest.approx(sum(parts.values()))


def test_a_field_counts_when_it_is_made_and_when_it_is_asked():
    watch, worker = Stopwatch(), Worker()
    with watch.step(), watch.around(fields=((worker, "walking"),)):
        worker.field(None)(torch.zeros(1), torch.zeros(1))
    assert watch.seconds["walking"] >= 0.04


def test_the_module_is_as_before_afterwards_even_if_the_step_fails():
    watch, worker = Stopwatch(), Worker()
    with (
        pytest.raises(ZeroDivisionError),
        watch.step(),
        watch.around((worker, "outer", "out"), fields=((worker, "w"),)),
    ):
        1 / 0  # noqa: B018
    assert "outer" not in vars(worker)
    assert "field" not in vars(worker)
    with watch.step():
        assert worker.outer() == 7
    assert set(watch.seconds) == {REST}


def test_a_coarse_one_takes_the_whole_alone():
    watch, worker = Stopwatch(coarse=True), Worker()
    with watch.step(), watch.around((worker, "outer", "out")):
        worker.outer()
    assert list(watch.seconds) == [REST]
    assert watch.seconds[REST] >= 0.05


def test_every_step_begins_anew():
    watch = Stopwatch()
    with watch.step(), watch.part("first"):
        pass
    with watch.step(), watch.part("second"):
        pass
    assert "first" not in watch.seconds
