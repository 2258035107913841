"""Whose code a configuration may name: what a run is made of by this list, others' when their user says so.

A name in a configuration (``_target_``) is code that runs, and configurations are passed on. So the word for a
package stands where no configuration reaches: in the environment, or among what is installed. A package installed
beside reflow names itself in an entry point of the group ``reflow.trust``::

    [project.entry-points."reflow.trust"]
    mine = "my_package"

Left out: finding what a name stands for, and making it (:mod:`reflow.cli.targets`).
"""

from __future__ import annotations

import os
import re
from importlib.metadata import entry_points

VARIABLE, GROUP = "REFLOW_TRUST", "reflow.trust"

TARGETS = (
    "lightning.Trainer",
    "lightning.pytorch.callbacks.*",
    "lightning.pytorch.loggers.*",
    "lightning.pytorch.profilers.*",
    "lightning.pytorch.strategies.*",
    "reflow.config.Teacher",
    "reflow.data.LeRobotDataModule",
    "reflow.distill.averaging.TrainedWeightsEMA",
    "reflow.distill.callbacks.*",
    "reflow.distill.checkpoints.TrainingCheckpoint",
    "reflow.distill.logs.OneCSV",
    "reflow.distill.trackio.TrackioLogger",
    "reflow.flow.*",
    "reflow.objectives.*",
    "reflow.probes.*",
)
"""What a run is made of: one thing, or the classes and functions that are defined in a package."""

MODULES = ("reflow.demo.pick_env", "lerobot_env_*")
"""What may be imported for an environment: ours, and what LeRobot imports by itself where it is installed."""


def trusted() -> tuple[str, ...]:
    """The packages that the user trusts, by the names they are imported by."""
    said = re.split(r"[\s,]+", os.environ.get(VARIABLE, ""))
    installed = (entry.value.partition(":")[0] for entry in entry_points(group=GROUP))
    return tuple(sorted({name for name in (*said, *installed) if name}))


def package_of(name: str, allowed: tuple[str, ...] = ()) -> str | None:
    """The package that lets a dotted name pass: of ``allowed``, or one of the user's own; None where none does.

    Args:
        name: as a configuration has it.
        allowed: dotted names; one that ends in ``*`` stands for what begins so.

    Returns:
        In what has to be defined what the name stands for: a package, or a prefix with its dot or underscore; the
        name itself where it is allowed as it is.
    """
    for one in allowed:
        if name == one or (one.endswith("*") and name.startswith(one[:-1])):
            return one.removesuffix("*")
    return next((f"{one}." for one in trusted() if f"{name}.".startswith(f"{one}.")), None)


def way_out(name: str) -> str:
    """What to do about a name that is not allowed."""
    package = name.partition(".")[0]
    return (
        f"a name in a configuration is code that runs. If {package} is a package that you trust, say so outside of "
        f"the configuration: {VARIABLE}={package} in the environment"
    )
