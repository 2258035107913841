"""Jobs in real processes, which are really killed."""

import multiprocessing
import os
import signal
import threading
import time
from functools import partial

import pytest

from reflow.simulator.workers import WorkerDiedError, in_order, run_jobs


class StubbornError(Exception):
    """Cannot be sent from one process to another."""

    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")
        self.lock = threading.Lock()


def do(job):
    if job == "raise":
        raise ValueError("job raise: no good")
    if job == "stubborn":
        raise StubbornError("this", "that")
    if job == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if job == "exit":
        os._exit(3)
    return job, os.getpid()


def make(offset=None):
    if offset == "broken":
        raise RuntimeError("no world here")
    return do


def test_every_job_is_done_once_by_a_few_processes():
    results = dict(run_jobs(make, range(7), processes=2))
    assert {job: result[0] for job, result in results.items()} == {job: job for job in range(7)}
    assert len({result[1] for result in results.values()}) == 2
    assert not multiprocessing.active_children()


def test_no_process_means_this_one():
    assert list(run_jobs(make, range(3), processes=0)) == [(job, (job, os.getpid())) for job in range(3)]


def slow_at_first(job):
    time.sleep(0.5 if job == 0 else 0.0)
    return job


def make_slow_at_first():
    return slow_at_first


@pytest.mark.parametrize("count", [0, 1, 7])
def test_results_in_order_wait_for_those_before(count):
    jobs = range(count)
    assert list(in_order(run_jobs(make_slow_at_first, jobs, processes=2), jobs)) == list(jobs)


def test_who_stops_reading_in_order_ends_the_workers():
    results = in_order(run_jobs(make, range(7), processes=2), range(7))
    next(results)
    assert multiprocessing.active_children()
    results.close()
    assert not multiprocessing.active_children()


def test_nothing_to_do_starts_nobody():
    assert list(run_jobs(make, [], processes=2)) == []


@pytest.mark.parametrize(
    ("job", "message"),
    [
        ("kill", r"was killed by SIGKILL \(out of memory\?.*\) at kill"),
        ("exit", "ended with exit code 3 at exit"),
    ],
)
def test_a_worker_that_ends_is_named_with_its_job(job, message):
    running = run_jobs(make, ["one", "two", job, "three"], processes=1)
    assert [next(running)[0], next(running)[0]] == ["one", "two"]
    with pytest.raises(WorkerDiedError, match=message):
        next(running)
    assert not multiprocessing.active_children()


def test_what_a_job_raises_is_raised_here_with_the_workers_traceback():
    with pytest.raises(ValueError, match="job raise: no good") as caught:
        list(run_jobs(make, ["one", "raise"], processes=1))
    assert "in do" in caught.value.__notes__[0]
    with pytest.raises(RuntimeError, match="StubbornError: this and that"):
        list(run_jobs(make, ["stubborn"], processes=1))
    with pytest.raises(RuntimeError, match="no world here"):
        list(run_jobs(partial(make, "broken"), ["one"], processes=1))


def test_closing_ends_the_workers():
    running = run_jobs(make, range(100), processes=2)
    next(running)
    assert len(multiprocessing.active_children()) == 2
    running.close()
    assert not multiprocessing.active_children()
