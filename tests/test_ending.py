"""Signals, sent by the system to a real process: while a command works, taken by somebody else, in a child."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

READY = "print('ready', flush=True); time.sleep(60)"
COMMON = "import os, signal, sys, time\nfrom reflow.ending import Stopped, ending\n"


def heed_ctrl_c() -> None:
    """As in a terminal: what a shell starts in the background ignores it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def ended(program: str, sent: int = signal.SIGTERM) -> tuple[int, str]:
    """Exit code, and what was said, of a program that gets a signal once it has printed ``ready``."""
    process = subprocess.Popen(
        [sys.executable, "-c", COMMON + program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n", process.communicate()[1]
    process.send_signal(sent)
    out, said = process.communicate(timeout=60)
    return process.returncode, out + said


@pytest.mark.parametrize(
    ("sent", "code", "word"),
    [
        (signal.SIGINT, 130, "interrupted"),
        (signal.SIGTERM, 143, "terminated"),
        (signal.SIGUSR1, 138, "stopped by SIGUSR1"),
        (signal.SIGUSR2, 140, "stopped by SIGUSR2"),
    ],
)
def test_a_signal_ends_whatever_is_done_outside_of_a_loop(sent: int, code: int, word: str) -> None:
    assert ended(f"with ending(str):\n    {READY}", sent) == (code, f"{word}; the same command goes on\n")


def test_of_several_processes_one_says_it() -> None:
    for rank in ("LOCAL_RANK", "SLURM_PROCID"):
        second = f"os.environ['{rank}'] = '1'\n"
        assert ended(f"{second}with ending(str):\n    {READY}") == (143, "")


def test_a_note_says_where_it_goes_on() -> None:
    noted = "  except Stopped as stop:\n    stop.add_note('half is kept'); raise"
    code, said = ended(f"with ending(str):\n  try:\n    {READY}\n{noted}")
    assert (code, said) == (143, "terminated; half is kept\n")


def test_whoever_has_taken_a_signal_keeps_it() -> None:
    """A scheduler's library asks to be requeued (submitit: SIGUSR2)."""
    taken = "signal.signal(signal.SIGUSR2, lambda *_: (print('requeued', flush=True), sys.exit(5)))\n"
    assert ended(f"{taken}with ending(str):\n    {READY}", signal.SIGUSR2) == (5, "requeued\n")


@pytest.mark.slow
def test_a_job_of_slurm_leaves_no_signal_to_lightning() -> None:
    """It would requeue the job by SIGUSR1; that is the business of whoever submitted it."""
    slurm = "os.environ.update(SLURM_JOB_ID='7', SLURM_NTASKS='1', SLURM_JOB_NAME='run', SLURM_PROCID='0')\n"
    taken = (
        "import lightning as L\n"
        "class Tell(L.Callback):\n"
        "    def on_train_start(self, *_): print('ready', flush=True), time.sleep(60)\n"
        "with ending(str):\n"
        "    trainer = L.Trainer(accelerator='cpu', callbacks=[Tell()], logger=False,"
        " enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False)\n"
        "    from lightning.pytorch.demos.boring_classes import BoringModel\n"
        "    trainer.fit(BoringModel())\n"
    )
    code, said = ended(slurm + taken, signal.SIGUSR1)
    assert (code, said.splitlines()[-1]) == (138, "stopped by SIGUSR1; the same command goes on")


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
