"""``README.md`` of a student: the card that the hub shows, of plain values.

Whatever comes from data, from a folder's name or from another card is escaped here, in the one template
(``templates/card.md.j2``); huggingface_hub writes the front matter as YAML. Left out: where the values come from
(:mod:`reflow.config.cards`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, PackageLoader, StrictUndefined

from reflow.reports.template import Table

PIPELINE, LIBRARY = "robotics", "lerobot"
UNKNOWN_LICENCE = "other"


class Code(str):
    """A value that is shown as code: a checksum, an id, a setting."""

    __slots__ = ()


type Rows = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Licence:
    """Of a teacher, and so of its student, as the front matter of a card says.

    Attributes:
        key: as the hub writes it (``apache-2.0``); None where nothing is known.
        name, link: of one that the hub has no word for.
    """

    key: str | None = None
    name: str | None = None
    link: str | None = None


@dataclass(frozen=True)
class CardFigures:
    """What was measured by one command.

    Attributes:
        title: of the section.
        sentences: the verdict, and comparisons with their intervals.
        table: teacher against student.
        command: that measured.
        machine: on which.
        versions: of packages there, in one line.
    """

    title: str
    sentences: tuple[str, ...] = ()
    table: Table | None = None
    command: str = ""
    machine: str = ""
    versions: str = ""


@dataclass(frozen=True)
class Result:
    """One figure for the front matter (``model-index``), where the hub's pages and searches find it.

    Attributes:
        data: what it was measured on.
        metric: its name.
        value: finite.
    """

    data: str
    metric: str
    value: float


@dataclass(frozen=True)
class Card:
    """Everything a card says; what is empty is left out.

    Attributes:
        title: one line.
        summary: what it is, a sentence.
        teacher, data, method: names and values (text, or `Code`), shown as tables.
        tasks: in words, of the data.
        figures: one section a command.
        run: commands that run it in LeRobot.
        again: commands that measure it again.
        rtc: what real-time chunking needs; None where nothing is to be said.
        folders: that lie beside the weights, and that LeRobot looks for by path.
        licence: of it.
        base_model, datasets: hub ids.
        tags: of the front matter.
        results: of the front matter.
        version: of reflow.
    """

    title: str
    summary: str
    teacher: Rows = ()
    data: Rows = ()
    method: Rows = ()
    tasks: tuple[str, ...] = ()
    figures: tuple[CardFigures, ...] = ()
    run: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
    rtc: str | None = None
    folders: tuple[str, ...] = ()
    licence: Licence = Licence()
    base_model: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    results: tuple[Result, ...] = field(default=())
    version: str = ""


def render_card(card: Card) -> str:
    """The card as text, front matter first."""
    body = _ENVIRONMENT.get_template("card.md.j2").render(card=card)
    return f"---\n{_front(card)}\n---\n{body.strip()}\n"


def _front(card: Card) -> str:
    licence = card.licence
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=PIPELINE,
        license=_line(licence.key or UNKNOWN_LICENCE),
        license_name=_line(licence.name or "") or None,
        license_link=_line(licence.link or "") or None,
        base_model=list(card.base_model) or None,
        datasets=list(card.datasets) or None,
        tags=list(card.tags),
        model_name=_line(card.title),
        eval_results=[
            EvalResult(
                task_type=PIPELINE,
                dataset_type=_line(result.data),
                dataset_name=_line(result.data),
                metric_type=result.metric,
                metric_value=float(f"{result.value:.6g}"),
            )
            for result in card.results
            if math.isfinite(result.value)
        ]
        or None,
    )
    if not data.eval_results:
        data.model_name = None  # which stands for nothing without results
    return str(data.to_yaml()).strip()


def escaped(text: object) -> str:
    """Text in Markdown that is read as it is: no tag, link, heading, list, table or emphasis comes of it."""
    plain = _line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKS.sub(r"\\\g<0>", plain)


def code(text: object) -> str:
    """Inline code, whatever the text holds; also inside a table."""
    plain = _line(text).replace("|", "\\|")
    if not plain.strip():
        return ""
    ticks = "`" * (1 + max(map(len, re.findall("`+", plain)), default=0))
    gap = " " if "`" in plain else ""
    return f"{ticks}{gap}{plain}{gap}{ticks}"


def cell(value: object) -> str:
    """A value in a table: as code where it is `Code`, else as text."""
    return code(value) if isinstance(value, Code) else escaped(value)


def fence(commands: Sequence[str]) -> str:
    """A block of code with one command a line, whatever they hold."""
    lines = [_line(command) for command in commands]
    ticks = "`" * max(3, 1 + max((len(run) for line in lines for run in re.findall("`+", line)), default=0))
    return "\n".join([f"{ticks}bash", *lines, ticks])


_MARKS = re.compile(
    r"[\\`*\[\]|~$]"  # code, emphasis, links, cells, formulas
    r"|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\."  # emphasis, addresses that would become links
    r"|^[-+#=]|(?<=^\d)[.)](?!\S)|(?<=^\d\d)[.)](?!\S)"  # lists and headings
)


def _line(text: object) -> str:
    """In one line, without what steers a terminal or turns the direction of writing."""
    return " ".join("".join(char if char.isprintable() else " " for char in str(text)).split())


_ENVIRONMENT = Environment(
    loader=PackageLoader("reflow.reports"),
    autoescape=False,  # Markdown: every value goes through one of the filters below
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters.update(md=escaped, code=code, cell=cell, fence=fence)
