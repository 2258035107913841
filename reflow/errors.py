"""What the user has to mend has one class; any other exception that reaches a command's end is a bug of ours.

An error names the field, what it got, what is allowed and the way out; a command prints it as one line and exits
with 2 (:mod:`reflow.cli`).
"""

from __future__ import annotations


class UserError(ValueError):
    """Something that only the user can mend: a value, a file, a package, a machine."""


class MissingFileError(UserError, FileNotFoundError):
    """A file or a folder that was named, or that belongs to one that was named, is not there."""


class NotInstalledError(UserError, ModuleNotFoundError):
    """An optional package, or a program, that was asked for is not installed."""
