"""How torch's threads wait for each other: asleep, so that a busy neighbour does not stop them.

By default OpenMP's threads spin at every barrier. Alone that saves the microseconds of waking up; beside other
processes it burns the very time that the thread waited for would need, and training becomes several times slower.
How they wait changes no result; how many there are does, in the last bits, so that number stays the user's.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

_ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Asks OpenMP (GNU's and Intel's) not to spin, unless the user has said how threads are to wait.

    Read when OpenMP's library loads: to be called before torch is imported, and inherited by child processes.

    Args:
        environment: the process's variables; changed in place.
    """
    if not _ASLEEP.keys() & environment.keys():
        environment.update(_ASLEEP)
