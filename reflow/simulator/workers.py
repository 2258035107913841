"""Jobs in worker processes, whose results arrive one by one as they are finished.

Unlike an executor of the standard library it says which job a killed worker was at, hands out no job ahead of time,
and leaves nobody behind: workers end when the parent ends, however it ends.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import pickle
import signal
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

import torch

from reflow.errors import UserError


class WorkerDiedError(UserError):
    """A worker process ended in the middle of a job."""


@dataclass
class _Worker[JobT]:
    process: SpawnProcess
    connection: Connection
    job: JobT | None = None


def run_jobs[JobT, ResultT](
    make: Callable[[], Callable[[JobT], ResultT]], jobs: Iterable[JobT], processes: int
) -> Generator[tuple[JobT, ResultT]]:
    """Does every job in some worker process.

    Args:
        make: called once in each worker; gives what does a job. Picklable, like jobs and results.
        jobs: what to do, handed out in this order.
        processes: number of workers; 0 does the jobs in this process, which saves starting one where jobs are few.

    Yields:
        A job and its result, in the order in which they are finished. Close the generator to stop early: the
        workers are killed.

    Raises:
        WorkerDiedError: a worker was killed; what was finished until then has been yielded.
        Exception: what a job raised, with the worker's traceback as a note.
    """
    if processes == 0:
        do = make()
        yield from ((job, do(job)) for job in jobs)
        return
    context = multiprocessing.get_context("spawn")  # neither GL nor CUDA survives a fork
    rest = deque(jobs)
    workers: list[_Worker[JobT]] = []
    try:
        for _ in range(min(processes, len(rest))):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # so that the end of the worker ends the pipe
            workers.append(_Worker(process, ours))
            _send(workers[-1], make)
            _give_next(workers[-1], rest)
        while busy := [worker for worker in workers if worker.job is not None]:
            ready = wait([worker.connection for worker in busy])
            died = None
            for worker in busy:
                if worker.connection not in ready:
                    continue
                try:
                    done, outcome = worker.connection.recv()
                except (EOFError, OSError):
                    died = died or worker  # first hand on what the others have finished
                    continue
                if not done:
                    raise outcome
                job, worker.job = worker.job, None
                _give_next(worker, rest)
                assert job is not None
                yield job, outcome
            if died is not None:
                died.process.join()
                raise WorkerDiedError(
                    f"worker process {died.process.pid} {_how(died.process.exitcode)} at {died.job}"
                )
    finally:
        for worker in workers:
            worker.process.kill()
        for worker in workers:
            worker.process.join()
            worker.connection.close()


def in_order[JobT, ResultT](
    done: Generator[tuple[JobT, ResultT]], jobs: Iterable[JobT]
) -> Generator[ResultT]:
    """The results of :func:`run_jobs` in the order of the jobs; what is early waits.

    Args:
        done: as they are finished; closed with this.
        jobs: the same ones, hashable and each once.
    """
    early: dict[JobT, ResultT] = {}
    with contextlib.closing(done):
        for job in jobs:
            while job not in early:
                finished, result = next(done)
                early[finished] = result
            yield early.pop(job)


def _give_next[JobT](worker: _Worker[JobT], rest: deque[JobT]) -> None:
    if rest:
        worker.job = rest.popleft()
        _send(worker, worker.job)


def _send(worker: _Worker, what: object) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: its end of the pipe says so
        worker.connection.send(what)


def _how(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        name = signal.Signals(-exit_code).name
        hint = " (out of memory? fewer processes need less)" if exit_code == -signal.SIGKILL else ""
        return f"was killed by {name}{hint}"
    return f"ended with exit code {exit_code}"


def _serve(connection: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which ends us
    os.environ.setdefault("LP_NUM_THREADS", "1")  # Mesa's software rendering: a process a core beats threads
    with contextlib.suppress(EOFError, BrokenPipeError):  # the parent is gone
        torch.set_num_threads(1)
        try:
            do = connection.recv()()
            while True:
                connection.send((True, do(connection.recv())))
        except (EOFError, BrokenPipeError):
            raise
        except Exception as error:
            connection.send((False, _portable(error)))


def _portable(error: Exception) -> Exception:
    note = "in a worker process:\n" + "".join(traceback.format_exception(error))
    error.add_note(note)
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        plain = RuntimeError(f"{type(error).__name__}: {error}")
        plain.add_note(note)
        return plain
    return error
