"""A policy's JSON that nobody foresaw, in words: whatever is stumbled over in it is said of its folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from reflow.errors import UserError

_STUMBLES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


@contextlib.contextmanager
def about(folder: Path) -> Iterator[None]:
    """In here a value of another kind than LeRobot writes is refused.

    Raises:
        UserError: names the folder, and what was stumbled over.
    """
    try:
        yield
    except (UserError, OSError):
        raise
    except _STUMBLES as error:
        raise UserError(
            f"{folder}: its JSON is not as LeRobot writes it ({type(error).__name__}: "
            f"{' '.join(str(error).split())[:200]}); copy the folder anew, or save the policy again"
        ) from error
