"""The one way into a command: Hydra composes, a schema checks, and what is wrong with it is one line.

Every value is checked against the command's schema while it is composed. ``HYDRA_FULL_ERROR=1`` shows tracebacks.
How a command ends is :mod:`reflow.ending`. Only this package imports Hydra.
"""

from reflow.cli.building import build, build_with, plain
from reflow.cli.entry import command, composed, overrides, sweeping
from reflow.cli.explain import Command, ConfigurationError

__all__ = [
    "Command",
    "ConfigurationError",
    "build",
    "build_with",
    "command",
    "composed",
    "overrides",
    "plain",
    "sweeping",
]
