"""``conf/diagnose.yaml``: its schema, what is refused at once, and the students that it names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig

from reflow.cli import build, plain
from reflow.config.checks import EXTENTS, check_least
from reflow.config.naming import AUTO
from reflow.config.parts import COMMON, GONE, data_arguments
from reflow.demo import embedded
from reflow.errors import UserError
from reflow.flow import ActionSpace, PaddingRule
from reflow.policies import find_folder
from reflow.schema import OPEN, schema

DIAGNOSE = schema(
    **COMMON,
    objective=OPEN,
    time=OPEN,
    distance=OPEN,
    solver=OPEN,
    trainer=OPEN,
    student=schema(path=Any, old=str | None, num_steps=int, trained=list[str], lora=int | None),
    padding=schema(noise=str | None, target=str | None, loss=str | None, inert=bool),
    val_draws=int,
    reference_steps=int,
    nfe=list[int],
    time_bins=int,
    device=str,
    json=bool,
    run_dir=str | None,
)
RENAMED = GONE | {"output": "is now run_dir (a folder: diagnosis.json goes there)"}
ALIASES = {"draws": "val_draws"}


def check_diagnosis(config: DictConfig) -> None:
    """What can be said of the settings before anything is loaded.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    data_arguments(config, build(config.teacher))
    check_least(config, 1, "val_draws", "reference_steps", "time_bins", "student.num_steps")
    check_least(config, 1, "data.batch_size", "data.val_frames")
    if min(config.nfe, default=0) < 1:
        raise UserError(f"nfe={list(config.nfe)}; allowed: one or more step counts, each 1 or more")
    steps = config.trainer.get("max_steps")
    if not isinstance(steps, int) or steps < 1:
        raise UserError(
            f"trainer.max_steps={steps}; allowed: 1 or more, or the distillation's time cannot be told"
        )
    for name in ("noise", "target", "loss"):
        if config.padding[name] not in (None, AUTO, *EXTENTS):
            raise UserError(
                f"padding.{name}={config.padding[name]}; allowed: {' or '.join(EXTENTS)}, or null to ask about none"
            )
    if config.student.old is not None and config.student.path is None:
        raise UserError(
            "student.old is given without student.path; name the new student too (student.path=...)"
        )


def students_of(config: DictConfig) -> Iterator[tuple[str, Path]]:
    """Names and policy folders: the judged student first, then older ones."""
    paths = plain(config.student)["path"]
    if paths is None:
        return
    several = [paths] if isinstance(paths, str) else list(paths) if isinstance(paths, list) else []
    if not several or not all(isinstance(path, str) for path in several):
        raise UserError(f"student.path={paths}; allowed: a path, or a list of paths, the newest last")
    olds = [*several[:-1], *([config.student.old] if config.student.old is not None else [])]
    names = ["student", *("old" if i == 0 else f"old_{i + 1}" for i in range(len(olds)))]
    for name, path in zip(names, [several[-1], *olds], strict=True):
        key = "student.old" if path == config.student.old else "student.path"
        yield name, find_folder(embedded.policy_path(path), key)


def asked_rule(config: DictConfig, space: ActionSpace) -> PaddingRule | None:
    """The padding rule asked about, if one is; of ``auto`` training will ask this very diagnosis."""
    asked = config.padding
    answers = [asked.noise, asked.target, asked.loss]
    if AUTO in answers or not (asked.inert or any(answers)):
        return None
    noise, target, loss = (cast(Any, answer or "real") for answer in answers)
    return PaddingRule(space, noise, target, loss, asked.inert)
