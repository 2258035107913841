"""Writes a bundle: an ordinary policy folder that needs nothing else, in the precision and steps that were asked for.

Left out: proving it (:mod:`reflow.bundle.proof`), and ONNX (:mod:`reflow.bundle.graphs`), which are added to it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from reflow.bundle.relocate import relocate
from reflow.errors import UserError
from reflow.files import read_json, write_json
from reflow.notices import note
from reflow.policies import FlowPolicy, merge_lora, replace_folder, save_policy
from reflow.policies.files import CONFIG, WEIGHTS

EXPORT = "export.json"
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_DTYPE = "dtype"


@dataclass(frozen=True)
class Asked:
    """What a bundle is to be.

    Attributes:
        folder: where to.
        precision: of the weights, one of :data:`PRECISIONS`; None as the policy has them.
        num_steps: integration steps; None for the policy's own.
        relative: name the backbone's folder from the bundle's own; else by the bundle's absolute path.

    Raises:
        UserError: a value out of range.
    """

    folder: Path
    precision: str | None = None
    num_steps: int | None = None
    relative: bool = False

    def __post_init__(self) -> None:
        if self.precision is not None and self.precision not in PRECISIONS:
            raise UserError(f"precision={self.precision}; allowed: {', '.join(PRECISIONS)}, or null")
        if self.num_steps is not None and self.num_steps < 1:
            raise UserError(f"num_steps={self.num_steps}; allowed: 1 or more, or null for the policy's own")

    def check_free(self) -> None:
        """Refuses to write over what is no bundle.

        Raises:
            UserError: there is a folder that this command did not make.
        """
        if self.folder.exists() and not (self.folder / EXPORT).is_file():
            raise UserError(
                f"run_dir={self.folder} is there, and is no bundle of this command (no {EXPORT} in it); choose "
                "another folder"
            )


def take_steps(flow: FlowPolicy, num_steps: int | None) -> None:
    """Sets the steps that were asked for, where they are others than the policy's own.

    Raises:
        UserError: the policy cannot take so many.
    """
    if num_steps is not None and num_steps != flow.num_steps:
        note(
            f"num_steps={num_steps}, and the policy has {flow.num_steps}: a student is good at the steps that it was "
            "trained for; python -m reflow.evaluate says how good at others"
        )
        flow.take_steps(num_steps)


def computed_in(flow: FlowPolicy, asked: Asked, source: Path) -> str | None:
    """The precision that a bundle's configuration asks stock LeRobot to compute in; None where it has no such field.

    A class without one keeps its own precision, whatever the weights in its file are: they are copied into it.

    Args:
        flow: the policy.
        asked: its weights' precision.
        source: the folder that it comes from.

    Raises:
        UserError: LeRobot's class does not compute in it.
    """
    if not hasattr(flow.config, _DTYPE):
        return None
    if asked.precision == "float16":
        raise UserError(
            f"precision=float16; allowed for a policy of type {flow.config.type}: bfloat16, float32. LeRobot's class "
            "computes in the precision of its weights, and in no other than these"
        )
    return asked.precision or str(read_json(source / CONFIG).get(_DTYPE))


def write_bundle(flow: FlowPolicy, source: Path, asked: Asked) -> Path:
    """Writes the policy's folder; an older bundle there is replaced.

    Args:
        flow: the policy, on the CPU, at the steps it is to have; its low-rank additions are merged.
        source: the folder that it comes from, no file of which names anything of the hub.
        asked: what it is to be.

    Returns:
        The folder.

    Raises:
        UserError: weights that are too large for 16 bits.
    """
    merge_lora(flow)
    folder = asked.folder.resolve()

    def fill(staged: Path) -> None:
        with tempfile.TemporaryDirectory(dir=staged.parent, prefix=".reflow-") as scratch:
            for entry in save_policy(flow, source, Path(scratch, "policy")).iterdir():
                entry.rename(staged / entry.name)
        if asked.precision is not None:
            _convert(staged, asked.precision)
            if hasattr(flow.config, _DTYPE):
                config = read_json(staged / CONFIG) | {_DTYPE: asked.precision}
                write_json(staged / CONFIG, config)
        relocate(staged, folder, relative=asked.relative)

    replace_folder(folder, fill)
    return folder


def _convert(folder: Path, precision: str) -> None:
    kind, weights = PRECISIONS[precision], load_file(folder / WEIGHTS)
    for name, tensor in weights.items():
        if not tensor.is_floating_point():
            continue
        weights[name] = tensor.to(kind)
        if not torch.isfinite(weights[name]).all():
            raise UserError(
                f"precision={precision}: {name} holds values up to {tensor.abs().max():.3g}, which {precision} "
                "cannot hold; take bfloat16"
            )
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
