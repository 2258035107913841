"""What is odd in a policy folder, though LeRobot can run it, is changed here, in memory, and said in a line each.

Every mending is one function: it takes a :class:`reflow.policies.files.PolicyFiles`, changes it in place and
yields what it concluded. It refuses (``UserError``) where there is more than one thing to conclude.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reflow.policies.files import PolicyFiles
from reflow.policies.mending.adapter import apply_adapter
from reflow.policies.mending.buffers import take_out_buffers
from reflow.policies.mending.features import narrow_cameras, widen_state
from reflow.policies.mending.openpi import rename_openpi
from reflow.policies.mending.precision import doubt_precision
from reflow.policies.mending.prefixes import strip_prefixes
from reflow.policies.mending.sense import check_sense
from reflow.policies.mending.unknown import check_readable, drop_unknown_fields, drop_unknown_step_fields

VERSION = 2
"""Counted up whenever a mending comes out otherwise, so that no older result is taken for a new one."""

# In this order: a configuration that LeRobot reads, then weights by LeRobot's names and without normalisation, then
# statistics by their plain names, then what is to be read from those.
MENDINGS: tuple[Callable[[PolicyFiles], Iterator[str]], ...] = (
    drop_unknown_fields,
    drop_unknown_step_fields,
    check_readable,
    check_sense,
    doubt_precision,
    apply_adapter,
    rename_openpi,
    take_out_buffers,
    strip_prefixes,
    widen_state,
    narrow_cameras,
)


def mend(files: PolicyFiles) -> list[str]:
    """Changes what is odd; returns what was concluded, nothing where all is well.

    Raises:
        UserError: something that has no one meaning, or that LeRobot cannot run either.
    """
    return [line for mending in MENDINGS for line in mending(files)]
