"""Does it fit my card? ``python -m reflow.sizes``: parameters and memory of policies in their published sizes.

Policies are made without weights (:mod:`reflow.policies.real`), and counted (:mod:`reflow.doctor.footprint`).
"""

from __future__ import annotations

import contextlib
import json
import sys
from typing import Any

from omegaconf import DictConfig
from rich.console import Console

from reflow.cli import command
from reflow.doctor.footprint import Footprint, footprint, sizes_tables
from reflow.doctor.show import print_table
from reflow.errors import NotInstalledError, UserError
from reflow.policies import policy_types
from reflow.policies.real import REAL, without_weights
from reflow.schema import schema

SIZES = schema(policies=list[str] | None, lora=int, json=bool)


def sizes(config: DictConfig) -> dict[str, Footprint]:
    """Footprints by LeRobot's name of the policy.

    Args:
        config: ``conf/sizes.yaml``, composed.

    Raises:
        UserError: a policy whose published size is not known here, or a rank below 1.
        NotInstalledError: a policy that was asked for by name needs a package that is missing.
    """
    if config.lora < 1:
        raise UserError(f"lora={config.lora}; allowed: 1 or more")
    served = [name for name in REAL if name in policy_types()]
    asked = served if config.policies is None else list(config.policies)
    if unknown := [name for name in asked if name not in served]:
        raise UserError(f"policies holds {unknown[0]}; sizes are known of {', '.join(served)}")
    found: dict[str, Footprint] = {}
    for name in asked:
        try:
            found[name] = footprint(without_weights(name), rank=config.lora)
        except NotInstalledError as error:
            if config.policies is not None:
                raise
            print(f"{name} is left out: {error}", file=sys.stderr)
    return found


@command("sizes", SIZES)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    with contextlib.redirect_stdout(sys.stderr):  # LeRobot prints while it builds
        found = sizes(config)
    if config.json:
        print(json.dumps({name: as_json(of) for name, of in found.items()}, indent=2))
        return
    for table in sizes_tables(found):
        print_table(table, Console())


def as_json(of: Footprint) -> dict[str, Any]:
    """A footprint for machines."""
    return {**vars(of), "total": of.total, "bytes": of.bytes()}


if __name__ == "__main__":
    main()
