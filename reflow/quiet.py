"""What other libraries say that is not the user's business stays off the terminal."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator

_OTHERS = r"(lightning|transformers|lerobot|torch|torchmetrics|huggingface_hub)\."
_LOGGERS = {
    "lightning.pytorch": logging.WARNING,
    "lightning.fabric": logging.WARNING,
    "transformers": logging.ERROR,
    "lerobot.utils.import_utils": logging.ERROR,  # torchcodec without FFmpeg: pages of traceback, and pyav serves
}


def everything_asked_for() -> bool:
    """Whether the user wants all there is: ``HYDRA_FULL_ERROR=1``, ``PYTHONWARNINGS`` or ``python -W``."""
    return bool(sys.warnoptions) or os.environ.get("HYDRA_FULL_ERROR") == "1"


def hush() -> None:
    """Leaves out deprecations and notices inside other libraries; for a command, before it begins."""
    if everything_asked_for():
        return
    for category in (DeprecationWarning, FutureWarning):
        warnings.filterwarnings("ignore", category=category, module=_OTHERS)
    # Dropout is off in training on purpose.
    warnings.filterwarnings("ignore", message=r"Found \d+ module\(s\) in eval mode", module=_OTHERS)
    # Several processes measure the same held-out observations.
    warnings.filterwarnings("ignore", message="It is recommended to use `self.log", module=_OTHERS)
    # On a cluster's login node; whoever wants srun gives it.
    warnings.filterwarnings("ignore", message="The `srun` command is available", module=_OTHERS)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read at its first import
    for name, level in _LOGGERS.items():
        logging.getLogger(name).setLevel(level)


@contextlib.contextmanager
def unprinted() -> Iterator[None]:
    """Swallows what LeRobot prints while it builds a policy or an environment, bars too; errors come through."""
    if everything_asked_for():
        yield
        return
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        yield
