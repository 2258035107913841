"""Schemas of the commands' configurations, what is built of their sections, and the identity of a run."""

from reflow.config.naming import AUTO, padding_name, run_directory
from reflow.config.parts import Teacher

__all__ = ["AUTO", "Teacher", "padding_name", "run_directory"]
