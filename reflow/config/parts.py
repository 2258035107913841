"""Sections that commands share, and what is built of them: teacher, data, padding rule, device, settings."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig

from reflow.cli import build_with, plain
from reflow.data import LeRobotDataModule
from reflow.demo import embedded
from reflow.errors import UserError
from reflow.flow import ActionSpace, PaddingRule
from reflow.policies import FlowPolicy, find_folder, load_policy
from reflow.schema import schema, schema_of


@dataclass(frozen=True)
class Teacher:
    """Which teacher, not loaded yet, and how it integrates its endpoints; ``conf/teacher`` makes it.

    Attributes:
        path: a policy folder, a hub id, or ``embedded/NAME``; None for the one that comes with the package.
        num_steps: integration steps of its endpoints; None for its own number.

    Raises:
        UserError: ``num_steps`` is below 1.
    """

    path: str | None = None
    num_steps: int | None = None

    def __post_init__(self) -> None:
        if self.num_steps is not None and self.num_steps < 1:
            raise UserError(f"teacher.num_steps={self.num_steps}; allowed: 1 or more, or null for its own")

    @cached_property
    def folder(self) -> Path:
        """Its complete policy folder; raises FileNotFoundError where there is none."""
        return find_folder(embedded.policy_path(self.path))

    def load(self, device: str = "cpu") -> FlowPolicy:
        """The policy, in eval mode."""
        return load_policy(self.folder, device)

    def steps(self, policy: FlowPolicy) -> int:
        """Integration steps of its endpoints."""
        return self.num_steps or policy.num_steps


TEACHER = schema_of(Teacher, _target_=str)
DATA = schema_of(
    LeRobotDataModule,
    but=("policy", "preprocess", "seed", "with_actions", "stored", "saved_rename"),
    _target_=str,
)
PADDING = schema(noise=str, target=str, loss=str, inert=bool)
COMMON: dict[str, Any] = {"seed": int, "teacher": TEACHER, "data": DATA}
GONE = {
    "student.train_state_proj": "is now student.trained (student.trained=[velocity,state_proj] where it was true)",
    "data.streaming": "is no key: frames are found by number, in an order that is a function of (seed, step), and a "
    "stream gives no numbers; leave it out (a data set is downloaded once), or take a part (data.episodes=[0,1])",
}
"""Keys that are no more, or never were, and what to do instead."""


def data_arguments(config: DictConfig, teacher: Teacher, **changes: Any) -> dict[str, Any]:
    """The section ``data`` in plain values: with the embedded teacher and no data named, the embedded data.

    Args:
        config: composed, with a section ``data``.
        teacher: that will look at them.
        changes: other values.

    Raises:
        UserError: ``data.repo_id`` is missing beside a teacher, or a folder, of one's own.
    """
    arguments = plain(config.data) | changes
    if arguments["repo_id"] is not None or arguments["mixture"] is not None:
        return arguments
    own_teacher = not (teacher.path or embedded.PREFIX).startswith(embedded.PREFIX)
    if own_teacher or arguments["root"] is not None:
        raise UserError(
            "data.repo_id is null, but the teacher or the data are your own; name the data set "
            "(data.repo_id=me/my_data, and data.root=DIR where it is a local folder)"
        )
    return arguments | {"repo_id": embedded.REPO_ID, "root": embedded.DATA}


def open_data(
    arguments: dict[str, Any], policy: FlowPolicy, preprocess: Any, **more: Any
) -> LeRobotDataModule:
    """The data that `data_arguments` name, for a policy; ``more`` goes to the module as it is."""
    return build_with(arguments, policy.config, preprocess, **more)


def rule_of(config: DictConfig, space: ActionSpace) -> PaddingRule:
    """The padding rule that the section ``padding`` answers with."""
    padding = config.padding
    return PaddingRule(space, padding.noise, padding.target, padding.loss, padding.inert)


def settings_of[SettingsT](kind: type[SettingsT], config: DictConfig, **changes: Any) -> SettingsT:
    """Settings whose fields are keys of a configuration, lists as tuples."""
    entries: Any = fields(kind)  # type: ignore[arg-type]  # a type variable cannot say that it is a dataclass
    values = {entry.name: config[entry.name] for entry in entries if entry.name not in changes}
    return kind(
        **{key: tuple(value) if isinstance(value, ListConfig) else value for key, value in values.items()},
        **changes,
    )


def step_counts(config: DictConfig) -> tuple[int, ...]:
    """The numbers of steps that a student is for, the fewest first: it is saved with that.

    Raises:
        UserError: ``student.num_steps`` is neither a number nor several.
    """
    return counts_in(plain(config.student)["num_steps"])


def counts_in(asked: object) -> tuple[int, ...]:
    """The same of a plain value."""
    several = asked if isinstance(asked, list) else [asked]
    if not several or any(type(one) is not int or one < 1 for one in several):
        raise UserError(
            f"student.num_steps={asked}; allowed: 1 or more, or several such numbers of which one student is for any "
            "(student.num_steps=[1,2,4])"
        )
    return tuple(sorted(set(several)))


def device_of(name: str) -> str:
    """``cpu`` or ``cuda`` for ``auto``, ``cpu`` or ``cuda``.

    Raises:
        UserError: another name, or there is no GPU.
    """
    if name not in ("auto", "cpu", "cuda"):
        raise UserError(f"device={name}; allowed: auto, cpu, cuda")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise UserError("device=cuda, but torch sees no GPU here; use device=auto or device=cpu")
    return "cuda" if there and name != "cpu" else "cpu"
