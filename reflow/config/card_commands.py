"""Commands that a student's card shows: how to play it, and how to evaluate it anew."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from reflow.config.origin import DataOrigin, TeacherOrigin
from reflow.config.saved import at
from reflow.files import read_object
from reflow.policies.backbones import named_folders
from reflow.policies.files import CONFIG, PROCESSORS


def carried_folders(student: Path) -> tuple[str, ...]:
    """Folders inside of the student's that its files name."""
    steps = [{"config": read_object(student / CONFIG)}]
    for name in PROCESSORS:
        steps += [step for step in read_object(student / name).get("steps", ()) if isinstance(step, dict)]
    found = {Path(folder).resolve() for step in steps for _, folder in named_folders(step, student)}
    inside = student.resolve()
    return tuple(sorted({str(one.relative_to(inside)) for one in found if one.is_relative_to(inside)}))


def run_commands(policy: str, carried: tuple[str, ...], *, hub: bool) -> Iterator[str]:
    """What plays a student in stock LeRobot.

    Args:
        policy: its folder, or ``owner/name@revision``.
        carried: folders inside of it that its files name.
        hub: whether it is fetched from there.
    """
    repo_id, _, revision = policy.partition("@")
    if carried and hub:
        folder = repo_id.rpartition("/")[2]
        yield f"hf download {repo_id}{f' --revision {revision}' if revision else ''} --local-dir {folder}"
        yield f"cd {folder}"
    said = (
        "."
        if carried and hub
        else f"{repo_id}{f' --policy.pretrained_revision={revision}' if revision else ''}"
    )
    yield f"lerobot-rollout --policy.path={said} --robot.type=..."
    yield f"lerobot-eval --policy.path={said} --env.type=..."


def evaluate_command(
    policy: str | None, config: Mapping[str, Any], teacher: TeacherOrigin, data: tuple[DataOrigin, ...]
) -> tuple[str, ...]:
    """What evaluates a pushed student anew; nothing where it was not pushed."""
    if policy is None:
        return ()
    words = [f"student.path={policy}"]
    if at(config, "teacher.path") is not None:
        at_commit = f"@{teacher.revision}" if teacher.revision else ""
        words.append(f"teacher.path={teacher.repo_id}{at_commit}" if teacher.repo_id else "teacher.path=DIR")
    for one in data[:1]:
        if at(config, "data.repo_id") is not None:
            words += ["data=lerobot", f"data.repo_id={one.name}", *([] if one.on_hub else ["data.root=DIR"])]
    return (f"python -m reflow.evaluate {' '.join(words)}",)
