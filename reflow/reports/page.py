"""``report.html``: one self-contained file made of a `Content`; a section without data is left out."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from pathlib import Path

from reflow.files import replace_text
from reflow.reports.content import Content
from reflow.reports.figures import Drawing, draw
from reflow.reports.figures.drawing import by_steps, percent, short, steps_name
from reflow.reports.shell import Section, Tile, hero, shell
from reflow.reports.tables import all_figures, overview, own_steps, pairs
from reflow.reports.theme import drawing, themed_svg
from reflow.reports.video import video_elements

_SECTIONS = (  # anchor, title, figures
    ("simulator", "In the simulator", ("success",)),
    ("endpoint", "Where integration ends", ("endpoint_error", "joint_error")),
    ("flow", "The flow of one observation", ("flow", "straightness")),
    ("velocity", "Velocity error", ("velocity_error",)),
    ("padding", "Padding", ("padding",)),
    ("distribution", "Distribution of chunks", ("distribution",)),
    ("motion", "Motion", ("motion", "joint_motion")),
    ("latency", "Latency", ("latency",)),
)


def write_report(content: Content, path: Path) -> Path:
    """Writes the page.

    Args:
        content: of the report.
        path: of the file, say ``outputs/demo/report.html``; videos beside it are linked relative to it.

    Returns:
        The path.

    Raises:
        UnwritableError: it cannot be written there.
    """
    return replace_text(path, render(content, path))


def render(content: Content, path: Path) -> str:
    """The page as text; ``path`` is where it will lie."""
    drawn = draw(content)
    sections = []
    if (table := overview(content)) is not None:
        body = f'<div class="card">{table.html("Teacher against student")}</div>'
        sections.append(Section("overview", "Teacher against student", body))
    for name, title, figures in _SECTIONS:
        body = "".join(_figure(figure, drawn[figure]) for figure in figures if figure in drawn)
        if name == "simulator":
            body = _comparisons(content) + body
        if body:
            sections.append(Section(name, title, body))
    if content.videos:
        body = f'<div class="card videos">{video_elements(content.videos, path)}</div>'
        sections.append(Section("video", "Side by side", body))
    if content.commands:
        body = "".join(
            f'<div class="command"><pre tabindex="0">{escape(command)}</pre>'
            '<button type="button" class="copy" hidden>Copy</button></div>'
            for command in content.commands
        )
        sections.append(Section("reproduce", "Make it again", f'<div class="card commands">{body}</div>'))
    if folds := _folds(content):
        sections.append(Section("details", "Details", f'<div class="card fold">{folds}</div>'))
    return shell(
        content.title, "reflow report", hero(content.verdict, _tiles(content)), sections, _foot(content)
    )


def _figure(name: str, drawn: Drawing) -> str:
    with drawing():
        svg = themed_svg(drawn.figure, name.replace("_", "-"), drawn.label)
    return (
        f'<figure class="card" id="figure-{name}"><div class="scroll" tabindex="0" role="group" '
        f'aria-label="Figure, scrolls sideways where it is wide">{svg}</div>'
        f"<figcaption>{escape(drawn.reading)} <b>Good:</b> {escape(drawn.good)}</figcaption></figure>"
    )


def _comparisons(content: Content) -> str:
    if not content.comparisons:
        return ""
    return f'<ul class="said">{"".join(f"<li>{escape(one.text)}</li>" for one in content.comparisons)}</ul>'


def _tiles(content: Content) -> tuple[Tile, ...]:
    """At most four figures: success, endpoint error, deploy gap, speed."""
    metrics, tiles = content.metrics, []
    students = [row for row in content.success if row.name == "student"]
    teachers = [row for row in content.success if row.name == "teacher"]
    if students:
        n = own_steps(content, [row.num_steps for row in students])
        row = next(row for row in students if row.num_steps == n)
        beside = f"95 % interval {100 * row.low:.1f} to {100 * row.high:.1f} %"
        if teachers:
            best = max(teachers, key=lambda row: row.num_steps)
            rate = percent(best.successes / best.episodes)
            beside = f"{steps_name(f'teacher@{best.num_steps}')}: {rate}"
        tiles.append(Tile(f"success in {_steps(n)}", percent(row.successes / row.episodes), beside))
    if errors := by_steps(metrics, "student/endpoint_error"):
        n = own_steps(content, errors)
        undistilled = metrics.get(f"teacher/endpoint_error@{n}")
        beside = f"undistilled: {percent(undistilled)}" if undistilled else ""
        tiles.append(Tile(f"endpoint error in {_steps(n)}", percent(errors[n]), beside))
    if "deploy/gap" in metrics:
        tiles.append(Tile("deploy gap", f"{metrics['deploy/gap']:.2f}", "1: training tells the truth"))
    if (speed := _speed(content)) is not None:
        tiles.append(speed)
    elif "velocity/relative_error" in metrics:
        tiles.append(
            Tile("velocity error", percent(metrics["velocity/relative_error"]), "of the velocity's length")
        )
    return tuple(tiles)


def _steps(n: int) -> str:
    return f"{n} step{'' if n == 1 else 's'}"


def _speed(content: Content) -> Tile | None:
    times: dict[str, Mapping[int, float]] = {
        who: {row.nfe: row.total_p50_ms for row in content.latency if row.name == who}
        for who in ("teacher", "student")
    }
    if not times["teacher"] or not times["student"]:
        return None
    slow, fast = max(times["teacher"]), min(times["student"])
    ratio = times["teacher"][slow] / times["student"][fast]
    told = f"{short(times['teacher'][slow])} ms to {short(times['student'][fast])} ms a chunk"
    return Tile("faster than the teacher", f"{ratio:.1f} ×", told)  # noqa: RUF001


def _folds(content: Content) -> str:
    folds = []
    if content.configuration.strip():
        folds.append(
            ("Configuration", "", f'<pre tabindex="0">{escape(content.configuration.strip())}</pre>')
        )
    if content.metrics:
        table = all_figures(content.metrics).html("All figures", "numbers")
        folds.append(("All figures", f"{len(content.metrics)} in metrics.json", table))
    if content.versions:
        table = pairs("package", "version", content.versions).html("Versions", "left")
        folds.append(("Versions", "", table))
    return "".join(
        f"<details><summary>{title}{f'<span>{note}</span>' if note else ''}</summary>{body}</details>"
        for title, note, body in folds
    )


def _foot(content: Content) -> str:
    version = content.versions.get("reflow")
    return f"Made by reflow{f' {escape(version)}' if version else ''}. It loads nothing from the network."
