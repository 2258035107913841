"""How torch's threads wait for each other: awake on a machine of one's own, asleep beside other processes.

By default OpenMP's threads spin at every barrier. Alone that saves the time of waking up (the demo trains at 140
pairs/s instead of 90 on two cores); beside a busy process it burns the very time that the thread waited for needs
(37 instead of 76). How they wait changes no result; how many there are does, in the last bits: that stays as it is.
"""

from __future__ import annotations

import os
import time
from collections.abc import MutableMapping
from pathlib import Path

_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
_SECONDS = 0.1


def choose_waiting(environment: MutableMapping[str, str] = os.environ) -> None:
    """Asks OpenMP (GNU's and Intel's) not to spin where others need the cores, unless the user has said how to wait.

    Read when OpenMP's library loads: to be called before torch is imported. Child processes inherit it.

    Args:
        environment: the process's variables; changed in place.
    """
    said = environment.get("OMP_NUM_THREADS", "")
    threads = int(said) if said.isdigit() else len(os.sched_getaffinity(0))
    if threads > 1 and not _ASLEEP.keys() & environment.keys() and idle_cores() < threads - 0.5:
        environment.update(_ASLEEP)


def idle_cores() -> float:
    """Cores that did nothing for a tenth of a second; infinitely many where the system does not tell."""
    try:
        before = _idle_ticks()
        time.sleep(_SECONDS)
        return (_idle_ticks() - before) / os.sysconf("SC_CLK_TCK") / _SECONDS
    except (OSError, ValueError, IndexError):
        return float("inf")


def _idle_ticks() -> int:
    _, _, _, _, idle, waiting = Path("/proc/stat").read_text().split(maxsplit=6)[:6]
    return int(idle) + int(waiting)
