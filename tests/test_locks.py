"""One process at a time in a folder."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reflow.errors import UserError
from reflow.locks import LOCK, InUseError, alone


@pytest.fixture
def other(tmp_path: Path) -> Iterator[int]:
    """Another process that is at work in ``run``, with a data worker of its own."""
    reading, writing = os.pipe()
    process = os.fork()
    if not process:
        with alone(tmp_path / "run"):
            worker = os.fork()
            if worker:
                os.write(writing, worker.to_bytes(4))
            time.sleep(60)
        os._exit(1)
    worker = int.from_bytes(os.read(reading, 4))
    yield process
    for one in (process, worker):
        os.kill(one, signal.SIGKILL)
    os.waitpid(process, 0)


def test_a_second_process_is_told_who_is_there(other: int, tmp_path: Path) -> None:
    message = rf"run_dir={tmp_path / 'run'} is in use by process {other} on .*; wait .*run_dir=\.\.\."
    with pytest.raises(InUseError, match=message), alone(tmp_path / "run"):
        pass


def test_whoever_is_killed_lets_go_even_if_its_workers_live(other: int, tmp_path: Path) -> None:
    os.kill(other, signal.SIGKILL)
    os.waitid(os.P_PID, other, os.WEXITED | os.WNOWAIT)
    with alone(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK).read_text().startswith(f"process {os.getpid()} on ")


def test_what_was_left_empty_is_gone(tmp_path: Path) -> None:
    with pytest.raises(KeyError), alone(tmp_path / "runs" / "run"):
        raise KeyError
    assert not (tmp_path / "runs").exists()
    with alone(tmp_path / "run"):
        (tmp_path / "run" / "run.json").write_text("{}")
    assert (tmp_path / "run" / "run.json").exists()


def test_where_nothing_can_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    message = r"run_dir=.*file/run: nothing can be written there \(Not a directory\)"
    with pytest.raises(UserError, match=message), alone(tmp_path / "file" / "run"):
        pass
