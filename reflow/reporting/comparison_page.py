"""The files of a comparison of runs: a GitHub table, a CSV file, a figure, and a page that holds table and figure.

The page needs nothing but itself and follows the reader's light or dark theme. Left out: what the cells say.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

from reflow.reporting.compare import RunComparison
from reflow.reporting.comparison_figure import comparison_figure
from reflow.reporting.comparison_table import Cell, body, caption, csv_text, header, markdown
from reflow.reporting.files import replace_file
from reflow.reporting.theme import css_variables, themed_svg

DPI = 150
_STYLE = """
:root { --sans: system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; color-scheme: light dark; LIGHT }
@media (prefers-color-scheme: dark) { :root { DARK } }
body { margin: 0; padding: 2rem clamp(1rem, 3vw, 3rem); background: var(--card); color: var(--ink);
  font: 15px/1.5 var(--sans); }
h1 { font-size: 1.5rem; margin: 0 0 .2rem; }
p { color: var(--muted); margin: .5rem 0; max-width: 95ch; }
.scroll { overflow-x: auto; margin: 1.2rem 0; }
table { border-collapse: collapse; font-size: .8rem; font-variant-numeric: tabular-nums; }
th, td { padding: .32rem .6rem; text-align: left; white-space: nowrap; border-bottom: 1px solid var(--grid); }
th { color: var(--muted); font-weight: 600; vertical-align: bottom; border-bottom: 1px solid var(--line); }
th.number { white-space: normal; min-width: 6.5em; }
.number { text-align: right; }
tbody tr:hover { background: var(--grid); }
tr.next td { border-top: 1px solid var(--line); }
td b { color: var(--oneway); }
.plot { width: 100%; max-width: calc(var(--w) * 1.25px); height: auto; display: block; }
"""


def write_comparison(comparison: RunComparison, folder: Path) -> tuple[Path, ...]:
    """Writes ``comparison.{md,csv,png,html}``.

    Args:
        comparison: with at least one metric.
        folder: made where it is not.

    Returns:
        The files.

    Raises:
        ValueError: there is nothing to show.
        UnwritableError: the folder cannot be written.
    """
    if not comparison.metrics:
        raise ValueError(
            "metrics: these runs have none of the default ones; name some of their metrics.json (metrics=[...])"
        )
    figure = comparison_figure(comparison)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=DPI)
    contents = {
        "md": markdown(comparison).encode(),
        "csv": csv_text(comparison).encode(),
        "png": picture.getvalue(),
        "html": page(
            comparison, themed_svg(figure, "comparison", "Dot plots of every metric, by row")
        ).encode(),
    }
    return tuple(
        replace_file(folder / f"comparison.{ending}", partial(_write, content))
        for ending, content in contents.items()
    )


def _write(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def page(comparison: RunComparison, figure: str) -> str:
    """The whole page.

    Args:
        comparison: shown as a table.
        figure: inline SVG.
    """
    runs = sum(len(row.runs) for row in comparison.rows)
    title = f"{runs} run{'s' if runs != 1 else ''} compared"
    style = _STYLE.replace("LIGHT", css_variables(dark=False)).replace("DARK", css_variables(dark=True))
    paragraphs = "".join(
        f"<p>{escape(text)}</p>\n" for text in (caption(comparison), *comparison.notes) if text
    )
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{style}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f'<div class="scroll">\n{_table(comparison)}</div>\n{paragraphs}{figure}\n</body>\n</html>\n'
    )


def _table(comparison: RunComparison) -> str:
    head = _line(header(comparison), "th")
    lines, before = [], None
    for row, cells in zip(comparison.rows, body(comparison), strict=True):
        teacher = row.settings.get("teacher")
        lines.append(_line(cells, "td", next_group=before is not None and teacher != before))
        before = teacher
    return f"<table>\n<thead>\n{head}</thead>\n<tbody>\n{''.join(lines)}</tbody>\n</table>\n"


def _line(cells: Sequence[Cell], tag: str, *, next_group: bool = False) -> str:
    def one(cell: Cell) -> str:
        text = escape(cell.text)
        if tag == "th":
            text = text.replace("/", "/<wbr>").replace("@", "<wbr>@")
        text = f"<b>{text}</b>" if cell.best else text
        return f"<{tag}{' class="number"' if cell.number else ''}>{text}</{tag}>"

    return f"<tr{' class="next"' if next_group else ''}>{''.join(map(one, cells))}</tr>\n"
