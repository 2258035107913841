"""Pages as text: what a section may hold, and the one template that all pages are made with.

A page is one file with style and script inside, light and dark, for screen and paper (``templates/page.html.j2``).
The template escapes what it is given; only figures, which :mod:`reflow.reports.theme` writes, go in as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from reflow.reports.theme import css_variables


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        head: titles of the columns, that of the row names first.
        rows: cells, the row's name first.
        notes: under the titles; empty for none.
        title, note: of a table that is folded.
        classes: of CSS.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    title: str = ""
    note: str = ""
    classes: str = ""


@dataclass(frozen=True)
class Picture:
    """A figure with its words.

    Attributes:
        svg: inline, of `themed_svg`.
        reading: how to read it.
        good: what good looks like.
        name: for its anchor; empty for none.
    """

    svg: str
    reading: str
    good: str
    name: str = ""


@dataclass(frozen=True)
class Section:
    """A part of a page, shown from top to bottom as listed; what is empty is left out.

    Attributes:
        name: its anchor.
        title: its heading.
        sentences: a list.
        table: of the run.
        compared: a table of several runs: ``caption``, ``head`` (`Cell`), ``rows`` (cells, whether a group begins).
        figures: one below the other.
        videos: HTML, of `video_elements`.
        commands: each with a button that copies it.
        configuration: closed at first, as it is, letter by letter.
        folds: tables that are closed at first.
    """

    name: str
    title: str
    sentences: Sequence[str] = ()
    table: Table | None = None
    compared: Mapping[str, Any] | None = None
    figures: Sequence[Picture] = ()
    videos: str = ""
    commands: Sequence[str] = ()
    configuration: str = ""
    folds: Sequence[Table] = ()

    def __bool__(self) -> bool:
        return any(value for key, value in vars(self).items() if key not in ("name", "title"))


def render_page(title: str, sections: Sequence[Section], **values: Any) -> str:
    """A whole page.

    Args:
        title: of the page; any text.
        sections: in order; those that hold nothing are left out.
        **values: for its head and foot: ``verdict`` with ``tiles`` (name, value, what to hold it against), or
            ``told``, paragraphs below the title; ``version`` of reflow; ``wide`` for tables of many columns.
    """
    head = {"verdict": None, "tiles": (), "told": (), "version": None, "wide": False} | values
    page = _ENVIRONMENT.get_template("page.html.j2")
    return page.render(title=title, sections=[one for one in sections if one], **head)


def render_part(name: str, value: object) -> Markup:
    """One macro of ``templates/parts.html.j2`` alone."""
    return getattr(_ENVIRONMENT.get_template("parts.html.j2").module, name)(value)


def _breakable(text: str) -> Markup:
    """Text that may be broken at the parts of a metric's name."""
    return Markup(str(escape(text)).replace("/", "/<wbr>").replace("@", "<wbr>@"))


_ENVIRONMENT = Environment(
    loader=PackageLoader("reflow.reports"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_ENVIRONMENT.filters["breakable"] = _breakable
_ENVIRONMENT.globals["css_variables"] = css_variables
