"""Code that lies beside a model or a tokenizer (``auto_map``, ``custom_generate``) is never run.

LeRobot asks transformers to trust such code for some policies and steps, wherever a folder's files point to. Here the
one function that would run it refuses, in the whole process. Left out: packages, which run when they are installed.
"""

from __future__ import annotations

import os
import sys
from typing import Any

from transformers import dynamic_module_utils

from reflow.errors import UserError

_RUNS = "get_class_in_module"


class HubCodeError(UserError):
    """A folder, or a repository of the hub, asks for code of its own to be run."""


def forbid_hub_code() -> None:
    """From now on transformers runs no code out of model folders; told once or twice, it is the same."""
    original = getattr(dynamic_module_utils, _RUNS)
    for module in [*sys.modules.values()]:  # under every name that it was imported by
        if getattr(module, "__dict__", {}).get(_RUNS) is original:
            setattr(module, _RUNS, _refuse)


def hub_code_in(error: BaseException | None) -> HubCodeError | None:
    """The refusal that another library's exception was made of, or None."""
    while error is not None and not isinstance(error, HubCodeError):
        error = error.__cause__ or error.__context__
    return error


def _refuse(class_name: str, module_path: str | os.PathLike[str], **_: Any) -> type:
    raise HubCodeError(
        f"{class_name} is code beside a model ({module_path}), asked for by auto_map or custom_generate in its "
        "folder, and such code is never run; take a model or tokenizer that transformers has a class for, or take "
        "auto_map out of its JSON where it has one"
    )
