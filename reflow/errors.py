"""What the user has to mend has one class; any other exception that reaches a command's end is a bug of ours.

An error names the field, what it got, what is allowed and the way out; a command prints it as one line and exits
with 2 (:mod:`reflow.cli`).
"""

from __future__ import annotations


class UserError(ValueError):
    """Something that only the user can mend: a value, a file, a package, a machine.

    A data loader raises what happened in a worker anew, with the worker's whole traceback as the message; here it
    becomes the one line again.
    """

    def __init__(self, *words: object) -> None:
        if (
            len(words) == 1
            and str(words[0]).startswith("Caught ")
            and "Traceback (most recent" in str(words[0])
        ):
            words = (str(words[0]).rstrip().rpartition(f".{type(self).__qualname__}: ")[2],)
        super().__init__(*words)


class MissingFileError(UserError, FileNotFoundError):
    """A file or a folder that was named, or that belongs to one that was named, is not there."""


class NotInstalledError(UserError, ModuleNotFoundError):
    """An optional package, or a program, that was asked for is not installed."""
