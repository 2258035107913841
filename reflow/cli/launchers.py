"""Sweeps that run elsewhere: what a launcher needs here, and what it says of a job that failed there, in one line.

Left out: launching, which is Hydra's plugins' (``conf/launcher``).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from importlib.util import find_spec

from reflow.errors import NotInstalledError


def check_launcher(words: Sequence[str]) -> None:
    """Refuses a sweep by a launcher that is not here; Hydra's own words would end in a traceback.

    Args:
        words: of the command line.

    Raises:
        NotInstalledError: says what to install, or where to give the command.
    """
    asked = {word.rpartition("launcher=")[2] for word in words if "launcher=" in word}
    if not {"-m", "--multirun"} & {*words}:
        return
    if asked & {"slurm", "submitit_slurm"} and shutil.which("srun") is None:
        raise NotInstalledError(
            "+launcher=slurm needs SLURM's srun and sbatch, and this machine has none; give the command on a login "
            "node of the cluster, or leave +launcher=slurm out: the jobs then run here, in turn"
        )
    if "joblib" in asked and find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        raise NotInstalledError(
            "+launcher=joblib needs hydra-joblib-launcher, which is not installed: pip install 'reflow[joblib]', or "
            "leave +launcher=joblib out: the jobs then run in turn"
        )


def of_slurm(error: BaseException) -> str | None:
    """What SLURM's launcher (submitit) raised, in one line; None: it was somebody else.

    A job that fails has said why in its log, which submitit quotes.

    Args:
        error: that ended the sweep.
    """
    if not type(error).__module__.startswith("submitit."):
        return None
    text = str(error)
    ended = re.search(r"Job (\S+) .*with path (\S+)/\S+\s.*\(state: (\w+)", text)
    if ended is None:
        return " ".join(text.split())
    said = re.findall(r"^(?:error|bug): (.*)", text, re.MULTILINE)
    return f"job {ended[1]} ended as {ended[3]}: {' '.join(said[-1:]) or 'it said nothing'}; its log is in {ended[2]}"
