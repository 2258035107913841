"""``report.html``: one self-contained file made of a `Content`; a section without data is left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from reflow.files import replace_text
from reflow.reports.content import Content
from reflow.reports.figures import draw
from reflow.reports.figures.drawing import by_steps, percent, short, steps_name, steps_of
from reflow.reports.tables import overview, own_steps
from reflow.reports.template import Picture, Section, Table, render_page
from reflow.reports.theme import drawing, themed_svg
from reflow.reports.video import video_elements

_FIGURES = (  # anchor, title, figures
    ("simulator", "In the simulator", ("success", "reaction", "jumps")),
    ("endpoint", "Where integration ends", ("endpoint_error", "joint_error")),
    ("flow", "The flow of one observation", ("flow", "straightness")),
    ("velocity", "Velocity error", ("velocity_error",)),
    ("padding", "Padding", ("padding",)),
    ("distribution", "Distribution of chunks", ("distribution",)),
    ("motion", "Motion", ("motion", "joint_motion")),
    ("latency", "Latency", ("latency",)),
)
type _Tile = tuple[str, str, str]  # its name, its value, what to hold it against


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
    with drawing():
        pictures = {
            name: Picture(
                themed_svg(drawn.figure, name.replace("_", "-"), drawn.label), drawn.reading, drawn.good, name
            )
            for name, drawn in draw(content).items()
        }
    said = {"simulator": content.comparisons}
    sections = (
        Section("overview", "Teacher against student", table=overview(content)),
        *(
            Section(
                name,
                title,
                sentences=said.get(name, ()),
                figures=[pictures[figure] for figure in figures if figure in pictures],
            )
            for name, title, figures in _FIGURES
        ),
        Section("video", "Side by side", videos=video_elements(content.videos, path)),
        Section("reproduce", "Make it again", commands=content.commands),
        Section("details", "Details", configuration=content.configuration.strip(), folds=[*_folds(content)]),
    )
    return render_page(
        content.title,
        sections,
        verdict=content.verdict,
        tiles=_tiles(content),
        version=content.versions.get("reflow"),
    )


def _tiles(content: Content) -> list[_Tile]:
    """At most four figures that are read at a glance: success, endpoint error, deploy gap, speed."""
    metrics, tiles = content.metrics, []
    students = {row.num_steps: row for row in content.success if row.name == "student"}
    teachers = [row for row in content.success if row.name == "teacher"]
    if students:
        n = own_steps(content, students)
        row = students[n]
        beside = f"95 % interval {100 * row.low:.1f} to {100 * row.high:.1f} %"
        if teachers:
            best = max(teachers, key=lambda row: row.num_steps)
            beside = f"{steps_name(f'teacher@{best.num_steps}')}: {percent(best.successes / best.episodes)}"
        tiles.append((f"success in {steps_of(n)}", percent(row.successes / row.episodes), beside))
    if errors := by_steps(metrics, "student/endpoint_error"):
        n = own_steps(content, errors)
        undistilled = metrics.get(f"teacher/endpoint_error@{n}")
        beside = f"undistilled: {percent(undistilled)}" if undistilled else ""
        tiles.append((f"endpoint error in {steps_of(n)}", percent(errors[n]), beside))
    if "deploy/gap" in metrics:
        tiles.append(("deploy gap", f"{metrics['deploy/gap']:.2f}", "1: training tells the truth"))
    if (speed := _speed(content)) is not None:
        tiles.append(speed)
    elif "velocity/relative_error" in metrics:
        error = percent(metrics["velocity/relative_error"])
        tiles.append(("velocity error", error, "of the velocity's length"))
    return tiles


def _speed(content: Content) -> _Tile | None:
    teacher, student = (
        {row.nfe: row.total_p50_ms for row in content.latency if row.name == who}
        for who in ("teacher", "student")
    )
    if not teacher or not student:
        return None
    slow, fast = teacher[max(teacher)], student[min(student)]
    told = f"{short(slow)} ms to {short(fast)} ms a chunk"
    return "faster than the teacher", f"{slow / fast:.1f} ×", told  # noqa: RUF001


def _folds(content: Content) -> Iterator[Table]:
    if metrics := content.metrics:
        rows = tuple((key, f"{metrics[key]:.6g}") for key in sorted(metrics))
        note = f"{len(metrics)} in metrics.json"
        yield Table(("figure", "value"), rows, title="All figures", note=note, classes="numbers")
    if content.versions:
        rows = tuple(content.versions.items())
        yield Table(("package", "version"), rows, title="Versions", classes="left")
