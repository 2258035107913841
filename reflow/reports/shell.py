"""What every page is made in: one file with style and script inside, light and dark, for screen and paper."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from importlib.resources import files

from reflow.reports.content import Verdict
from reflow.reports.theme import css_variables

_SANS = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", "Liberation Sans", sans-serif'
_MONO = 'ui-monospace, "SF Mono", "Cascadia Mono", Menlo, Consolas, "Liberation Mono", "DejaVu Sans Mono", monospace'
_LIGHT = (
    "color-scheme: light; --page: #f5f6f8; --edge: #e1e5ea; --shade: #1a233022; "
    "--goodtone: #08685f; --goodtint: #d9f1ec; "
    "--badtone: #a3262a; --badtint: #fbe3e2; --opentone: #7a4d06; --opentint: #fbeed3; "
)
_DARK = (
    "color-scheme: dark; --page: #0f141b; --edge: #28313c; --shade: #000000aa; "
    "--goodtone: #5fe0ce; --goodtint: #10352f; "
    "--badtone: #ff9d9a; --badtint: #42191b; --opentone: #f7c873; --opentint: #3a2b0d; "
)
_LONG = 130  # characters of a verdict from which it is set smaller
_JUDGED = {True: ("good", "good"), False: ("bad", "not good"), None: ("open", "cannot tell yet")}


@dataclass(frozen=True)
class Section:
    """A part of a page.

    Attributes:
        name: its anchor.
        title: its heading.
        body: HTML.
    """

    name: str
    title: str
    body: str

    def html(self) -> str:
        """The section, labelled by its heading."""
        return (
            f'<section id="{self.name}" aria-labelledby="{self.name}-title">'
            f'<h2 id="{self.name}-title">{escape(self.title)}</h2>{self.body}</section>'
        )


@dataclass(frozen=True)
class Tile:
    """A figure that is read at a glance.

    Attributes:
        name: of the figure.
        value: as text.
        beside: what to hold it against.
    """

    name: str
    value: str
    beside: str = ""

    def html(self) -> str:
        """The tile."""
        beside = f"<dd>{escape(self.beside)}</dd>" if self.beside else ""
        return f'<div class="tile"><dt>{escape(self.name)}</dt><dd>{escape(self.value)}</dd>{beside}</div>'


def hero(verdict: Verdict, tiles: tuple[Tile, ...]) -> str:
    """The verdict, and the few figures it rests on."""
    tone, words = _JUDGED[verdict.good]
    long = ' class="long"' if len(verdict.sentence) > _LONG else ""
    shown = f'<dl class="tiles">{"".join(tile.html() for tile in tiles)}</dl>' if tiles else ""
    return (
        f'<header class="hero {tone}"><span class="pill">{words}</span>'
        f"<h1{long}>{escape(verdict.sentence)}</h1>{shown}</header>"
    )


def shell(
    title: str, kind: str, head: str, sections: list[Section], foot: str = "", *, wide: bool = False
) -> str:
    """A whole page.

    Args:
        title: of the page; any text.
        kind: of page, before the title.
        head: HTML above the sections.
        sections: in order.
        foot: HTML below them.
        wide: for tables of many columns.
    """
    resources = files("reflow.reports")
    style = (resources / "page.css").read_text(encoding="utf-8")
    script = (resources / "page.js").read_text(encoding="utf-8")
    light, dark = _LIGHT + css_variables(dark=False), _DARK + css_variables(dark=True)
    themes = (
        f":root {{ --sans: {_SANS}; --mono: {_MONO}; {light} }}\n"
        f":root[data-theme=dark] {{ {dark} }}\n"
        f"@media screen and (prefers-color-scheme: dark) {{ :root:not([data-theme=light]) {{ {dark} }} }}\n"
        f"@media print {{ :root, :root[data-theme=dark] {{ {light} --page: #fff; }} }}\n"
    )
    links = "".join(f'<li><a href="#{one.name}">{escape(one.title)}</a></li>' for one in sections)
    body = "\n".join(one.html() for one in sections)
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="reflow">
<title>{escape(title)} · {escape(kind)}</title>
<link rel="icon" href="data:,">
<style>
{themes}{style}</style>
</head>
<body>
<a class="skip" href="#content">Skip to the content</a>
<div class="wrap{" wide" if wide else ""}">
<div class="bar"><p class="brand"><b>{escape(title)}</b> · {escape(kind)}</p>\
<button id="theme" type="button" hidden>Theme</button></div>
{head}
<nav aria-label="Sections"><ul>{links}</ul></nav>
<main id="content">
{body}
</main>
<footer>{foot}</footer>
</div>
<script>
{script}</script>
</body>
</html>
"""
