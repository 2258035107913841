"""Does stock LeRobot act from a bundle alone? Asked of a fresh process without reflow, network, hub cache or GPU.

The same observations are shown to the policy as it was exported, in this process, from noise of the same seeds. Left
out: the script itself (:mod:`reflow.policies.alone`), which may import nothing of ours.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from reflow.bundle.observations import Tried
from reflow.errors import UserError
from reflow.policies import FlowPolicy, alone
from reflow.policies.rounding import apart, of_policy

NOTHING_LEFT = 1.0
"""The relative error of a chunk of zeros: from there on it is no matter of precision."""


@dataclass(frozen=True)
class Proof:
    """What stock LeRobot did with a bundle, in a process of its own.

    Attributes:
        observations: that it acted on.
        where: they come from.
        error: largest difference of an action from the source's, same noise, relative to the largest action.
        seconds: that the process took, starting Python and loading included.
    """

    observations: int
    where: str
    error: float
    seconds: float


def acts(flow: FlowPolicy, preprocess: Any, tried: Tried) -> list[Tensor]:
    """What a policy plays of its first chunk on every observation, by LeRobot's own ``select_action``, on the CPU.

    Args:
        flow: the policy; torch's generator stays as it was.
        preprocess: its preprocessor.
        tried: the observations.
    """
    with torch.random.fork_rng(devices=[]):
        return [
            alone.played(flow.policy, preprocess(dict(one)), number) for number, one in enumerate(tried.raw)
        ]


def acts_alone(folder: Path, tried: Tried, *, inside: bool = False) -> tuple[list[Tensor], float]:
    """The same of stock LeRobot from a folder, in a fresh process with the network off.

    Args:
        folder: of the policy.
        tried: the observations.
        inside: let the working directory be the folder; else it is an empty one.

    Returns:
        The actions, and the seconds that it took.

    Raises:
        UserError: LeRobot cannot load it so, or act; names what it said.
    """
    with tempfile.TemporaryDirectory() as scratch:
        Tried(tried.raw).save(Path(scratch, "observations.safetensors"))
        start = time.monotonic()
        done = subprocess.run(
            [
                *(sys.executable, "-P", str(Path(alone.__file__).resolve()), str(folder)),
                *(str(Path(scratch, f"{name}.safetensors")) for name in ("observations", "answers")),
                str(torch.get_num_threads()),
            ],
            cwd=folder if inside else scratch,
            env=os.environ | _offline(Path(scratch)),
            capture_output=True,
            text=True,
        )
        seconds = time.monotonic() - start
        if done.returncode:
            last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
            raise UserError(
                f"{folder}: stock LeRobot does not act from it in a fresh process without network: "
                f"{' '.join(last)[:600] or f'exit code {done.returncode}'}"
            )
        found = load_file(Path(scratch, "answers.safetensors"))
    return [found[f"{number}/chunk"] for number in range(len(tried.raw))], seconds


def prove(
    folder: Path, wanted: Sequence[Tensor], source: FlowPolicy, tried: Tried, *, inside: bool, exact: bool
) -> Proof:
    """Holds what stock LeRobot does with a bundle against the policy that it was made of.

    Args:
        folder: the bundle.
        wanted: what the source does (:func:`acts`).
        source: the source, whose layers bound the rounding.
        tried: the observations.
        inside: whether it works from the folder itself only.
        exact: whether nothing but rounding may be between them; else 16 bits are, and the error is only told.

    Raises:
        UserError: LeRobot cannot load it, or it acts otherwise.
    """
    found, seconds = acts_alone(folder, tried, inside=inside)
    error = max(apart(one, other) for one, other in zip(found, wanted, strict=True))
    bound = source.num_steps * of_policy(source, whole=True) if exact else NOTHING_LEFT
    if not error <= bound:  # nan, too
        raise UserError(
            f"{folder}: in a fresh process stock LeRobot acts otherwise than the policy that was exported: its "
            f"actions are off by up to {error:.3g} of the largest, and {bound:.3g} could be rounding. A setting of "
            "config.json may mean something else to LeRobot: compare with python -m reflow.diagnose"
        )
    return Proof(len(tried.raw), tried.where, error, seconds)


def _offline(scratch: Path) -> dict[str, str]:
    """No hub, no cache of it, no GPU."""
    return {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HOME": str(scratch / "hub"),
        "HF_HUB_CACHE": str(scratch / "hub" / "hub"),
        "CUDA_VISIBLE_DEVICES": "",
        "TQDM_DISABLE": "1",
    }
