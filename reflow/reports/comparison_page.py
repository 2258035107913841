"""The files of a comparison of runs: a GitHub table, a CSV file, a figure, and a page that holds table and figure.

The page needs nothing but itself and follows the reader's light or dark theme. Left out: what the cells say.
"""

from __future__ import annotations

from pathlib import Path

from reflow.errors import UserError
from reflow.files import replace_file, replace_text
from reflow.reports.compare import RunComparison
from reflow.reports.comparison_figure import comparison_figure
from reflow.reports.comparison_table import body, caption, csv_text, header, markdown
from reflow.reports.template import Picture, Section, render_page
from reflow.reports.theme import themed_svg

DPI = 150
_READING = "One panel per figure, one line per row of the table."
_GOOD = "where the arrow of the title points, ↓ left, ↑ right; rings far apart are seeds that disagree."


def write_comparison(comparison: RunComparison, folder: Path) -> tuple[Path, ...]:
    """Writes ``comparison.{md,csv,png,html}``.

    Args:
        comparison: with at least one metric.
        folder: made where it is not.

    Returns:
        The files.

    Raises:
        UserError: there is nothing to show.
        UnwritableError: the folder cannot be written.
    """
    if not comparison.metrics:
        raise UserError(
            "metrics: these runs have none of the default ones; name some of their metrics.json (metrics=[...])"
        )
    figure = comparison_figure(comparison)
    html = page(comparison, themed_svg(figure, "comparison", "Dot plots of every metric, by row"))
    return (
        replace_text(folder / "comparison.md", markdown(comparison)),
        replace_text(folder / "comparison.csv", csv_text(comparison)),
        replace_file(folder / "comparison.png", lambda path: figure.savefig(path, format="png", dpi=DPI)),
        replace_text(folder / "comparison.html", html),
    )


def page(comparison: RunComparison, figure: str) -> str:
    """The whole page.

    Args:
        comparison: shown as a table.
        figure: inline SVG.
    """
    runs = sum(len(row.runs) for row in comparison.rows)
    teachers = [row.settings.get("teacher") for row in comparison.rows]
    begins = [number > 0 and teachers[number] != teachers[number - 1] for number in range(len(teachers))]
    table = {
        "caption": caption(comparison),
        "head": header(comparison),
        "rows": list(zip(body(comparison), begins, strict=True)),
    }
    sections = [
        Section("table", "Figures by run", compared=table),
        Section("figure", "The same as a picture", figures=[Picture(figure, _READING, _GOOD)]),
    ]
    told = [text for text in (caption(comparison), *comparison.notes) if text]
    return render_page(f"{runs} run{'s' if runs != 1 else ''} compared", sections, told=told, wide=True)
