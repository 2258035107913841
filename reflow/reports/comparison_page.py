"""The files of a comparison of runs: a GitHub table, a CSV file, a figure, and a page that holds table and figure.

The page needs nothing but itself and follows the reader's light or dark theme. Left out: what the cells say.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path

from reflow.files import replace_file
from reflow.reports.compare import RunComparison
from reflow.reports.comparison_figure import comparison_figure
from reflow.reports.comparison_table import Cell, body, caption, csv_text, header, markdown
from reflow.reports.shell import Section, shell
from reflow.reports.theme import themed_svg

DPI = 150


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
    told = "".join(f"<p>{escape(text)}</p>" for text in (caption(comparison), *comparison.notes) if text)
    table = (
        '<div class="scroll" tabindex="0" role="region" aria-label="Table of the runs, scrolls sideways">'
        f"{_table(comparison)}</div>"
    )
    picture = (
        '<figure class="card"><div class="scroll" tabindex="0" role="group" '
        f'aria-label="Figure, scrolls sideways where it is wide">{figure}</div>'
        "<figcaption>One panel per figure, one line per row of the table. <b>Good:</b> where the arrow of the title "
        "points, ↓ left, ↑ right; rings far apart are seeds that disagree.</figcaption></figure>"
    )
    sections = [
        Section("table", "Figures by run", f'<div class="card compared">{table}</div>'),
        Section("figure", "The same as a picture", picture),
    ]
    head = f'<header class="hero"><h1>{title}</h1><div class="told">{told}</div></header>'
    return shell(title, "reflow report", head, sections, "It loads nothing from the network.", wide=True)


def _table(comparison: RunComparison) -> str:
    head = _line(header(comparison), "th")
    lines, before = [], None
    for row, cells in zip(comparison.rows, body(comparison), strict=True):
        teacher = row.settings.get("teacher")
        lines.append(_line(cells, "td", next_group=before is not None and teacher != before))
        before = teacher
    title = f"<caption>{escape(caption(comparison))}</caption>\n"
    return f"<table>\n{title}<thead>\n{head}</thead>\n<tbody>\n{''.join(lines)}</tbody>\n</table>\n"


def _line(cells: Sequence[Cell], tag: str, *, next_group: bool = False) -> str:
    def one(cell: Cell) -> str:
        text = escape(cell.text)
        if tag == "th":
            text = text.replace("/", "/<wbr>").replace("@", "<wbr>@")
        text = f"<b>{text}</b>" if cell.best else text
        scope = ' scope="col"' if tag == "th" else ""
        return f"<{tag}{scope}{' class="number"' if cell.number else ''}>{text}</{tag}>"

    return f"<tr{' class="next"' if next_group else ''}>{''.join(map(one, cells))}</tr>\n"
