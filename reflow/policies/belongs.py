"""Was this student distilled from this teacher? Asked of the two folders, before anything is measured.

A student keeps its teacher's frozen prefix (vision, language, state projection), its processors and its sizes; the
rest it has learned. A student of another teacher would load without complaint, and every figure about it would be
wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path

import torch
from safetensors import safe_open

from reflow.errors import UserError
from reflow.files import read_json
from reflow.policies.base import FlowPolicy
from reflow.policies.capabilities import VELOCITY
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from reflow.policies.folder import load_policy
from reflow.policies.groups import parameter_groups
from reflow.policies.statistics import saved_statistics

_SIZES = (
    *("type", "chunk_size", "horizon", "n_obs_steps", "max_action_dim", "max_state_dim"),
    *("input_features", "output_features"),
)


def check_belongs(
    student: Path,
    teacher: Path,
    *,
    loaded: FlowPolicy | None = None,
    trained: Collection[str] = (VELOCITY,),
    field: str = "student.path",
) -> None:
    """Refuses a student whose frozen parts are not its teacher's.

    Args:
        student: the student's ``pretrained_model`` folder, complete.
        teacher: the teacher's.
        loaded: the teacher, if it is loaded already.
        trained: the parameter groups that it was distilled with (``student.trained``), which are its own.
        field: the configuration key to name in the error.

    Raises:
        UserError: names what differs.
    """
    differences = [*_sizes(student, teacher), *_statistics(student, teacher)]
    if not any(line.startswith("type") for line in differences):
        differences += _prefix(student, teacher, loaded or load_policy(teacher), trained)
    if differences:
        raise UserError(
            f"{field}={student} was not distilled from teacher.path={teacher}:\n  "
            + "\n  ".join(differences)
            + "\nGive the teacher it was distilled from (teacher.path=...), or another student. If only parameter "
            "groups differ that were trained, say so here too (student.trained=[velocity,...])"
        )


def _sizes(student: Path, teacher: Path) -> Iterator[str]:
    theirs, its = (read_json(folder / CONFIG) for folder in (teacher, student))
    for key in _SIZES:
        if theirs.get(key) != its.get(key):
            yield f"{key}: {_short(its.get(key))} in the student, {_short(theirs.get(key))} in the teacher"


def _statistics(student: Path, teacher: Path) -> Iterator[str]:
    for name in (PREPROCESSOR, POSTPROCESSOR):
        its, theirs = saved_statistics(student, name), saved_statistics(teacher, name)
        if its.modes != theirs.modes:
            yield f"normalisation modes of {name}: {its.modes} in the student, {theirs.modes} in the teacher"
        for key in sorted(its.tensors.keys() | theirs.tensors.keys()):
            one, other = its.tensors.get(key), theirs.tensors.get(key)
            if one is None or other is None or one.shape != other.shape:
                yield f"statistics {key} of {name}: not in both, or of another size"
            elif not torch.equal(one, other):
                away = (one.double() - other.double()).abs().max()
                yield f"statistics {key} of {name}: up to {away:.3g} apart"


def _prefix(student: Path, teacher: Path, policy: FlowPolicy, trained: Collection[str]) -> Iterator[str]:
    with safe_open(student / WEIGHTS, "pt") as its, safe_open(teacher / WEIGHTS, "pt") as theirs:
        in_both = set(its.keys()) & set(theirs.keys())
        for group, parameters in parameter_groups(policy).items():
            if group in {VELOCITY, *trained}:
                continue
            # Parameters of the adapter are the policy's, under one more name.
            names = [name.removeprefix("policy.") for name in parameters]
            names = [name for name in names if name in in_both]
            other = [name for name in names if not _equal(its.get_tensor(name), theirs.get_tensor(name))]
            if other:
                yield f"frozen {group}: {len(other)} of {len(names)} tensors differ, e.g. {other[0]}"


def _equal(one: torch.Tensor, other: torch.Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
