"""Where a run's teacher and data come from, written down when it begins: what its student's card says of them.

``origin.json`` holds names, revisions and checksums. It is no part of a run's identity, which compares contents
(:mod:`reflow.config.run_folder`): the same files from another place make the same student. Left out: the card
(:mod:`reflow.config.cards`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from reflow.config.parts import Teacher
from reflow.config.saved import front_matter
from reflow.data import OpenSource
from reflow.demo import embedded
from reflow.errors import UserError
from reflow.files import read_json, sha256, write_json
from reflow.hub import Repository, commit_of
from reflow.policies import locate
from reflow.policies.files import CARD, CONFIG
from reflow.reports.card import Licence
from reflow.typed import typed
from reflow.versions import machine_here

ORIGIN = "origin.json"
_LICENCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,63}")
_LINK = re.compile(r"(https?://[^\s<>\"'()\\]{1,300}|LICENSE(\.\w+)?)")
_MOST_TASKS = 20


@dataclass(frozen=True)
class TeacherOrigin:
    """A teacher.

    Attributes:
        name: how to call it: a hub id, ``embedded/NAME``, or what its path says.
        kind: LeRobot's type of the policy.
        num_steps: that its endpoints were integrated in; None where that was not noted.
        fingerprint: SHA-256 over its JSON and safetensors files.
        repo_id, revision: on the hub, where it is from there; the revision is a commit.
        files: SHA-256 of its weights, by the names of their files, as the hub shows it too.
        base_model: the hub id of the model that it was made of, as its card says.
        licence: of it.
    """

    name: str
    kind: str
    fingerprint: str
    num_steps: int | None = None
    repo_id: str | None = None
    revision: str | None = None
    files: dict[str, str] = field(default_factory=dict)
    base_model: tuple[str, ...] = ()
    licence: Licence = field(default_factory=Licence)


@dataclass(frozen=True)
class DataOrigin:
    """A data set.

    Attributes:
        name: its ``repo_id``; a name of any kind where it is a local folder.
        fingerprint: SHA-256 over its files.
        on_hub: whether it is the hub's.
        revision: the commit, where that is known.
        version: of LeRobot's format.
        episodes, frames: in all; trained on are `trained`, held out `held_out` episodes.
        tasks: in words; the first few.
        robot: its type.
        fps: frames per second.
    """

    name: str
    fingerprint: str
    on_hub: bool = False
    revision: str | None = None
    version: str = ""
    episodes: int = 0
    frames: int = 0
    trained: int = 0
    held_out: int = 0
    tasks: tuple[str, ...] = ()
    robot: str | None = None
    fps: int = 0


@dataclass(frozen=True)
class Origin:
    """What a run is made of, and where.

    Attributes:
        teacher: that is distilled.
        data: in their order.
        machine: that trained.
    """

    teacher: TeacherOrigin
    data: tuple[DataOrigin, ...] = ()
    machine: str = ""


def note_origin(
    run: Path, teacher: Teacher, fingerprint: str, num_steps: int, data: Iterable[OpenSource]
) -> None:
    """Writes ``origin.json``, unless it is there.

    Args:
        run: the run's folder.
        teacher: that is distilled.
        fingerprint: of its folder, which is read for the run's identity already.
        num_steps: that its endpoints are integrated in.
        data: what it is distilled on.
    """
    if (run / ORIGIN).is_file():
        return
    told = _teacher_origin(teacher, fingerprint, num_steps)
    found = Origin(told, tuple(map(_data_origin, data)), machine_here())
    write_json(run / ORIGIN, asdict(found))


def read_origin(run: Path) -> Origin | None:
    """What `note_origin` wrote; None for a run of before it was written.

    Raises:
        UserError: it is no such file.
    """
    path = run / ORIGIN
    if not path.is_file():
        return None
    try:
        return typed(Origin, read_json(path))
    except UserError as error:
        raise UserError(f"{path}: {error}; delete it, and the card goes without what it says") from error


def _teacher_origin(teacher: Teacher, fingerprint: str, num_steps: int) -> TeacherOrigin:
    """Of a teacher whose folder is complete; likewise."""
    said = embedded.policy_path(teacher.path)
    folder = locate(said, "teacher.path").resolve()  # as it was given: what was mended has no card
    commit = commit_of(folder)
    repository = Repository.read(str(said)) if commit else None
    card = front_matter(folder / CARD) if (folder / CARD).is_file() else {}
    of_package = folder.is_relative_to(embedded.ASSETS)
    name = str(repository.repo_id if repository else _telling(folder))
    return TeacherOrigin(
        name=f"{embedded.PREFIX}{folder.name}" if of_package else name,
        kind=str(read_json(folder / CONFIG).get("type")),
        fingerprint=fingerprint,
        num_steps=num_steps,
        repo_id=repository.repo_id if repository else None,
        revision=commit,
        files={file.name: sha256(file) for file in sorted(folder.glob("*model*.safetensors"))},
        base_model=tuple(_hub_ids(card.get("base_model"))),
        licence=Licence(embedded.LICENCE) if of_package else licence_in(card),
    )


def licence_in(card: Mapping[str, Any]) -> Licence:
    """The licence that a card's front matter names; what is none of the hub's kind counts as unknown."""
    key, name, link = (card.get(word) for word in ("license", "license_name", "license_link"))
    if not isinstance(key, str) or not _LICENCE.fullmatch(key):
        return Licence()
    return Licence(
        key.lower(),
        name if isinstance(name, str) and _LICENCE.fullmatch(name) else None,
        link if isinstance(link, str) and _LINK.fullmatch(link) else None,
    )


def _hub_ids(said: Any) -> list[str]:
    words = said if isinstance(said, list) else [said]
    read = [Repository.read(word) for word in words if isinstance(word, str)]
    return [one.repo_id for one in read if one is not None][:4]


def _data_origin(data: OpenSource) -> DataOrigin:
    meta, on_hub = data.meta, data.source.root is None
    tasks = [str(task) for task in meta.tasks.index] if meta.tasks is not None else []
    return DataOrigin(
        name=data.source.repo_id,
        fingerprint=data.content,
        on_hub=on_hub,
        revision=commit_of(data.root) if on_hub else None,
        version=str(meta.info.codebase_version),
        episodes=int(meta.total_episodes),
        frames=int(meta.total_frames),
        trained=len(data.train),
        held_out=len(data.held_out),
        tasks=tuple(tasks[:_MOST_TASKS]),
        robot=meta.robot_type,
        fps=int(meta.fps),
    )


def _telling(folder: Path) -> str:
    """The part of a path that says something: no path of this machine goes into a card."""
    silent = {"pretrained_model", "last", "checkpoints"}
    parts = [part for part in folder.parts if part not in silent and not part.isdigit()]
    return parts[-1] if parts else folder.name
