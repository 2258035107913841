"""SIGTERM, sent by the system to a real process: while a command works, in a loop of Lightning's, in a child."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

READY = "print('ready', flush=True); time.sleep(60)"
COMMON = "import os, signal, sys, time\nfrom reflow.ending import Terminated, ending\n"


def ended(program: str) -> tuple[int, str]:
    """Exit code, and what was said, of a program that gets SIGTERM once it has printed ``ready``."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMON + program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=60)
    return process.returncode, out + said


def test_sigterm_ends_whatever_is_done_outside_of_a_loop() -> None:
    code, said = ended(f"with ending(str):\n    {READY}")
    assert (code, said) == (143, "terminated; the same command goes on\n")


def test_a_note_says_where_it_goes_on() -> None:
    noted = "  except Terminated as stop:\n    stop.add_note('half is kept'); raise"
    code, said = ended(f"with ending(str):\n  try:\n    {READY}\n{noted}")
    assert (code, said) == (143, "terminated; half is kept\n")


def test_whoever_has_taken_sigterm_decides() -> None:
    """Lightning's loops put their handler in front of ours, and call both."""
    taken = (
        "    ours = signal.getsignal(signal.SIGTERM)\n"
        "    def theirs(*args): ours(*args); print('at the end of this step', flush=True); sys.exit(5)\n"
        "    signal.signal(signal.SIGTERM, theirs)\n"
    )
    assert ended(f"with ending(str):\n{taken}    {READY}") == (5, "at the end of this step\n")


def test_a_process_forked_off_ends_as_processes_do() -> None:
    forked = (
        "with ending(str):\n"
        "    read, write = os.pipe()\n"
        "    child = os.fork()\n"
        "    if not child: os.write(write, b'.'), time.sleep(60), os._exit(1)\n"
        "    os.read(read, 1)\n"
        "    os.kill(child, signal.SIGTERM)\n"
        "    print(os.WTERMSIG(os.waitpid(child, 0)[1]))\n"
    )
    run = subprocess.run([sys.executable, "-c", COMMON + forked], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == (f"{signal.SIGTERM.value}\n", "")


@pytest.mark.slow
def test_a_command_that_is_told_to_stop_says_so(tmp_path: Path) -> None:
    """The doctor, in the middle of references that would take for ever."""
    folder = tmp_path / "diagnosis"
    code, said = ended(
        "import reflow.diagnose as command\n"
        "examine = command.examine\n"
        "def begun(*args):\n"
        "    print('ready', file=sys.__stdout__, flush=True)\n"
        "    return examine(*args)\n"
        "command.examine = begun\n"
        f"sys.argv[1:] = ['run_dir={folder}', 'reference_steps=1000000']\n"
        "command.main()"
    )
    assert code == 143
    assert "terminated; the same command goes on\n" in said
    assert "Traceback" not in said
    assert not folder.exists()
