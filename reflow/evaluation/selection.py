"""Was the student played on these seeds before? A student may have been chosen by episodes of its training run.

Success of the chosen one on the episodes it was chosen by is too high. ``reflow.train`` keeps the episodes that it
plays in the run folder (``simulator/``). Left out: what was played elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reflow.errors import UserError
from reflow.simulator.journal import IDENTITY, identity_in, read_episodes

PLAYED = "simulator"  # of a run folder
_SAME_STARTS = ("type", "task")  # of an environment: then a seed is the same start


class SeenSeedsError(UserError):
    """The student was played on these seeds by its training run."""


def check_unseen(run: Path | None, env: Mapping[str, Any], seeds: Sequence[int]) -> None:
    """Refuses seeds that a training run has played its student on, in the same environment.

    Args:
        run: the student's run folder; None where it has none.
        env: identity of the environment (`EnvironmentSettings.identity`).
        seeds: that are to be reported on.

    Raises:
        SeenSeedsError: names them, and others.
    """
    folder = run / PLAYED if run is not None else None
    if folder is None or not (folder / IDENTITY).is_file():
        return
    there = identity_in(folder).get("env", {})
    if any(there.get(name) != env.get(name) for name in _SAME_STARTS):
        return
    played = {episode.seed for episode in read_episodes(folder)}
    if seen := sorted(played & set(seeds)):
        raise SeenSeedsError(
            f"first_seed={seeds[0]}: {len(seen)} of the {len(seeds)} seeds ({seen[0]}, ...) are those that the "
            f"training run played this student on ({folder}), and it may have been chosen by them. Report on others: "
            f"first_seed={max(played) + 1}"
        )
