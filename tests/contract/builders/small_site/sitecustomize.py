"""Imported by Python as it starts, in a process that has this folder on its path."""

import tests.contract.builders.small_pi  # noqa: F401  (importing it is what it is for)
