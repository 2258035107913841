"""``conf/push.yaml``: its schema, what is refused at once, and what of a run's student goes to the hub.

What goes is what the student's checksums list, and they go too. Where its files name folders inside of it by this
machine's paths, what goes names them by where they are in it. Left out: sending (:mod:`reflow.hub`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from reflow.config.cards import write_run_card
from reflow.config.run_folder import RUN, STUDENT
from reflow.errors import MissingFileError, UserError
from reflow.files import read_object, sha256
from reflow.hub import Repository, Shipment
from reflow.notices import note
from reflow.policies.backbones import named_folders
from reflow.policies.files import CONFIG, PROCESSORS
from reflow.policies.sums import SUMS, files_in_sums, sums_text
from reflow.policies.whole import check_whole
from reflow.reports.folder import METRICS
from reflow.schema import schema

PUSH = schema(
    run_dir=str | None,
    repo_id=str | None,
    revision=str | None,
    private=bool,
    message=str | None,
    dry_run=bool,
)
_LONGEST = 200  # letters of a message


def shipment_of(config: DictConfig) -> Shipment:
    """What ``conf/push.yaml``, composed, asks for; writes the student's card for it.

    Raises:
        MissingFileError: the run is none, or is not finished.
        UserError: names the key, or the file, and the way out.
    """
    for key, example in (("run_dir", "outputs/demo"), ("repo_id", "me/student")):
        if config[key] is None:
            raise UserError(f"{key} is missing; give it ({key}={example})")
    repository = Repository.named(config.repo_id, config.revision, where=("repo_id", "revision"))
    run = Path(config.run_dir).expanduser()
    for name, what in ((RUN, "no run of reflow.train"), (METRICS, "not finished"), (STUDENT, "not finished")):
        if not (run / name).exists():
            raise MissingFileError(
                f"run_dir={run} is {what} ({name} is missing); give a finished run's folder, or the command that "
                "began it again"
            )
    check_whole(run / STUDENT, f"the student in run_dir={run}")
    student = write_run_card(run, str(repository))
    message = config.message or f"Student of {run.resolve().name}, distilled with reflow"
    if len(message) > _LONGEST or not message.isprintable():
        raise UserError(f"message={message[:40]!r}...; allowed: one line of at most {_LONGEST} letters")
    return Shipment(repository, bool(config.private), message, files_of(student), SUMS)


def files_of(student: Path) -> dict[str, Path | bytes]:
    """What a student is sent as, by the names it will have.

    Args:
        student: a delivered folder, with its checksums.

    Raises:
        UserError: a file of it names a folder that is not inside.
    """
    files: dict[str, Path | bytes] = {name: student / name for name in files_in_sums(student)}
    for name in (CONFIG, *PROCESSORS):
        content = read_object(student / name)
        if _by_inner_names(content, student, student / name):
            files[name] = (json.dumps(content, indent=2) + "\n").encode()
    extra = {file.relative_to(student).as_posix() for file in student.rglob("*") if file.is_file()} - {
        *files,
        SUMS,
    }
    if extra:
        note(f"not sent, for {SUMS} does not list them: {', '.join(sorted(extra)[:8])}")
    digests = {
        name: hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else sha256(content)
        for name, content in files.items()
    }
    return {**files, SUMS: sums_text(digests).encode()}


def _by_inner_names(content: dict[str, Any], student: Path, file: Path) -> bool:
    """Changes paths of folders inside the student to their names in it; whether there were any."""
    steps: list[Mapping[str, Any]] = [{"config": content}]
    steps += [step for step in content.get("steps", ()) if isinstance(step, dict)]
    changed = False
    for step in steps:
        for field, found in [*named_folders(step, student)]:
            place = Path(found).resolve()
            if not place.is_relative_to(student.resolve()):
                raise UserError(
                    f"{file}: {field} names {found}, a folder of this machine that lies outside of the student, and "
                    "nobody else would find it; deliver the student anew with the command that trained it"
                )
            inner = str(place.relative_to(student.resolve()))
            changed |= step["config"][field] != inner
            step["config"][field] = inner
    return changed
