"""Commands in processes of their own, which start in no time: forked off one that has imported everything.

What is killed is real: a process, with its files half-written, its workers and its locks.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.faults.preloaded", "tests.faults.processes"])
PATIENCE = 600
"""Seconds after which a process that should have ended has hung."""


@dataclass
class Command:
    """A command that was started.

    Attributes:
        process: its process.
        output: the file with what it says.
    """

    process: ForkServerProcess
    output: Path

    @property
    def said(self) -> str:
        """What it has said until now."""
        return self.output.read_text()

    def end(self) -> int:
        """Waits until it has ended; its exit code."""
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            raise TimeoutError(f"{self.output.name} hung:\n{self.said}")
        return self.process.exitcode

    def workers(self) -> list[int]:
        """The processes that it has forked off."""
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def wait_for(self, file: Path) -> None:
        """Until it has written a file."""
        deadline = time.monotonic() + PATIENCE
        while not file.exists():
            assert self.process.exitcode is None, self.said
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL after so long; False where it had ended by itself."""
        self.process.join(seconds)
        if self.process.exitcode is not None:
            return False
        self.process.kill()
        self.process.join()
        return True


def start(
    module: str, arguments: list[str], output: Path, *, largest: int | None = None, clock: float = 0.0
) -> Command:
    """Starts ``python -m MODULE ARGUMENTS``.

    Args:
        module: with a ``main``.
        arguments: its overrides.
        output: where to what it says goes.
        largest: bytes of a file, before the system says that there is no room; None for no such limit.
        clock: seconds by which its clock goes wrong.
    """
    process = _SERVER.Process(target=_run, args=(module, arguments, str(output), largest, clock))
    process.start()
    return Command(process, output)


def _run(module: str, arguments: list[str], output: str, largest: int | None, clock: float) -> None:
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    if Path("/dev/shm").is_dir():  # another file system than the run's
        os.environ["TMPDIR"], tempfile.tempdir = "/dev/shm", None
    if largest is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
    now = time.time
    time.time = lambda: now() + clock
    multiprocessing.set_start_method("fork", force=True)  # as in any process of this system
    sys.argv = [module, *arguments]
    import_module(module).main()


def timed(command: Command) -> float:
    """Seconds until a command that must end well has ended."""
    begin = time.monotonic()
    assert command.end() == 0, command.said
    return time.monotonic() - begin
