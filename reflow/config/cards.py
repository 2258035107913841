"""The card of a run's student, out of what the run folder holds; written at delivery, and anew when it is pushed.

Figures are the run's own and those of the evaluation beside the student, if it is of this very student. Left out: how
the card looks (:mod:`reflow.reports.card`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from reflow.config.card_commands import carried_folders, evaluate_command, run_commands
from reflow.config.naming import padding_name
from reflow.config.origin import DataOrigin, Origin, TeacherOrigin, read_origin
from reflow.config.parts import counts_in
from reflow.config.portable import portable
from reflow.config.run_folder import RUN, STUDENT
from reflow.config.runs import EVALUATION
from reflow.config.saved import at, read_saved
from reflow.errors import UserError
from reflow.evaluation.result_folder import OFFLINE
from reflow.files import read_json, read_object
from reflow.notices import warn
from reflow.policies import fingerprint
from reflow.policies.files import CONFIG
from reflow.policies.rtc import rtc_hint
from reflow.policies.sums import write_card
from reflow.reports.card import Card, CardFigures, Code, Result, Rows, render_card
from reflow.reports.content import Content
from reflow.reports.folder import CONFIGURATION, METRICS, content_of_run
from reflow.reports.tables import overview
from reflow.reports.verdict import steps_in_words
from reflow.simulator.journal import IDENTITY
from reflow.versions import versions_of

NEEDED = ("padding", "teacher", "student")
_FILES_SHOWN = 4


def write_run_card(run: Path, policy: str | None = None) -> Path:
    """Writes the card into the student's folder, and its checksum into the list there.

    Args:
        run: the folder of a finished run.
        policy: how its commands name the student; None for the folder.

    Returns:
        The student's folder.

    Raises:
        UserError: a file of the run is damaged.
    """
    write_card(run / STUDENT, render_card(card_of(run, policy)))
    return run / STUDENT


def card_of(run: Path, policy: str | None = None) -> Card:
    """What the card of a finished run says; likewise."""
    config, origin = read_saved(run, NEEDED, "reflow.train", "run_dir"), read_origin(run)
    student = run / STUDENT
    content = content_of_run(run)
    evaluated = _evaluation(run)
    own = read_object(student / CONFIG)
    counts = _counts(config, run)
    steps = counts[0]
    teacher = origin.teacher if origin is not None else _teacher_unknown(run, config, own)
    data = origin.data if origin is not None else ()
    named = policy or f"{run.resolve().name}/{STUDENT}"
    told = evaluated if evaluated is not None else content
    return Card(
        title=content.title,
        summary=_summary(teacher, steps),
        teacher=[*_teacher_rows(teacher, config)],
        data=[row for one in data for row in _data_rows(one)],
        tasks=tuple(dict.fromkeys(task for one in data for task in one.tasks)),
        method=[*_method_rows(config, counts, content, origin)],
        figures=tuple(
            _figures(title, part)
            for title, part in (("Evaluation", evaluated), ("Figures of the training run", content))
            if part is not None
        ),
        run=tuple(run_commands(named, carried := carried_folders(student), hub=policy is not None)),
        again=evaluate_command(policy, config, teacher, data),
        rtc=rtc_hint(student, steps, at(config, "objective.rtc_training_max_delay") or 0),
        folders=carried,
        licence=teacher.licence,
        base_model=(teacher.repo_id,) if teacher.repo_id else teacher.base_model,
        datasets=tuple(one.name for one in data if one.on_hub),
        tags=(
            "robotics",
            "lerobot",
            teacher.kind,
            "reflow",
            "distillation",
            "flow-matching",
            f"{steps}-step",
        ),
        results=tuple(_results(told, data, steps)),
        version=versions_of(["reflow"]).get("reflow", ""),
    )


def _counts(config: Mapping[str, Any], run: Path) -> tuple[int, ...]:
    try:
        return counts_in(at(config, "student.num_steps"))
    except UserError as error:
        raise UserError(f"{run / CONFIGURATION}: {error}") from error


def _summary(teacher: TeacherOrigin, steps: int) -> str:
    return (
        f"A student of {teacher.name} ({teacher.kind}) that acts in {steps_in_words(steps)}: from noise to an action "
        f"chunk it asks its network {'once' if steps == 1 else f'{steps} times'}"
        f"{f', where its teacher asks {teacher.num_steps} times' if teacher.num_steps else ''}."
    )


def _teacher_unknown(run: Path, config: Mapping[str, Any], own: Mapping[str, Any]) -> TeacherOrigin:
    """Of a run of before ``origin.json``: what its identity says."""
    path = at(config, "teacher.path")
    identity = read_object(run / RUN)
    name = portable(f"teacher={path or 'embedded/teacher'}").partition("=")[2].removeprefix("DIR/")
    return TeacherOrigin(name, str(own.get("type")), str(identity.get("teacher_fingerprint", "")))


def _teacher_rows(teacher: TeacherOrigin, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    yield "Policy", Code(teacher.name)
    yield "Type", Code(teacher.kind)
    if teacher.revision:
        yield "Revision", Code(teacher.revision)
    yield "SHA-256 over its configuration and weights", Code(teacher.fingerprint)
    for name, digest in [*teacher.files.items()][:_FILES_SHOWN]:
        yield f"SHA-256 of {name}", Code(digest)
    solver, steps = at(config, "solver.name"), teacher.num_steps or at(config, "teacher.num_steps")
    yield "Integrated by", f"{solver}, {f'{steps} steps' if steps else 'its own number of steps'}"
    yield "Licence", Code(teacher.licence.key) if teacher.licence.key else "not stated"


def _data_rows(data: DataOrigin) -> Iterator[tuple[str, str]]:
    yield "Data set", Code(data.name)
    yield "Where", "on the hub" if data.on_hub else "a local folder"
    if data.revision:
        yield "Revision", Code(data.revision)
    yield "SHA-256 over its files", Code(data.fingerprint)
    yield (
        "Episodes",
        f"{data.episodes:,} of {data.frames:,} frames at {data.fps} a second; {data.trained:,} trained on, "
        f"{data.held_out:,} held out",
    )
    yield "Robot", data.robot or "not stated"


def _method_rows(
    config: Mapping[str, Any], counts: tuple[int, ...], content: Content, origin: Origin | None
) -> Rows:
    def kind(key: str) -> str:
        return str(at(config, key)).rpartition(".")[2]

    padding = at(config, "padding") or {}
    rows: list[tuple[str, str]] = [("Objective", Code(kind("objective._target_")))]
    if at(config, "method"):
        rows.append(("Method", str(at(config, "method"))))
    rows += [
        ("Fix", Code(padding_name(config))),
        ("Padding", ", ".join(f"{name} {padding.get(name)}" for name in ("noise", "target", "loss"))),
        ("Steps of the student", ", ".join(map(str, counts))),
        ("Trained", ", ".join(map(str, at(config, "student.trained") or ()))),
    ]
    if at(config, "student.lora"):
        rows.append(("Low-rank additions", f"rank {at(config, 'student.lora')}"))
    batch, draws = at(config, "data.batch_size"), at(config, "objective.draws")
    training = f"{at(config, 'trainer.max_steps')} steps of {batch} observations"
    rows.append(("Training", f"{training}, {draws} noises each" if draws else training))
    rows.append(("Seed", str(at(config, "seed"))))
    if (gap := content.metrics.get("deploy/gap")) is not None and isfinite(gap):
        rows.append(("Deploy gap (1: training tells the truth)", f"{gap:.2f}"))
    if origin is not None and origin.machine:
        rows.append(("Machine", origin.machine))
    return rows


def _figures(title: str, content: Content) -> CardFigures:
    return CardFigures(
        title=title,
        sentences=(content.verdict.sentence, *content.comparisons),
        table=overview(content),
        command=portable(content.commands[0]) if content.commands else "",
        machine=content.machine,
        versions=", ".join(f"{name} {version}" for name, version in content.versions.items()),
    )


def _evaluation(run: Path) -> Content | None:
    """What the evaluation beside the student found; None where there is none, or of another student."""
    folder = run / EVALUATION
    if not (folder / METRICS).is_file():
        return None
    mine = fingerprint(run / STUDENT)
    of = {
        at(read_json(folder / name), key)
        for name, key in ((OFFLINE, "identity.student"), (IDENTITY, "policies.student.fingerprint"))
        if (folder / name).is_file()
    }
    if of - {mine, None}:
        warn(
            f"{folder} is of another student than {run / STUDENT}, and not in its card; evaluate this one anew"
        )
        return None
    return content_of_run(folder)


def _results(content: Content, data: tuple[DataOrigin, ...], steps: int) -> Iterator[Result]:
    where = data[0].name if data else "held-out observations"
    error = content.metrics.get(f"student/endpoint_error@{steps}")
    if error is not None:
        yield Result(where, f"endpoint_error@{steps}", error)
    for row in content.success:
        if row.name == "student":
            yield Result(
                f"{where} (simulator)", f"success_rate@{row.num_steps}", row.successes / row.episodes
            )
