"""Processes that tests start, and end."""

import subprocess


def end(process: subprocess.Popen[bytes], seconds: float) -> None:
    """Asks a process to end, and ends it where it has not after so many seconds."""
    process.terminate()
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
