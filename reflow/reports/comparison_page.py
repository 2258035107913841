"""The files of a comparison of runs: a GitHub table, a CSV file, figures, and a page that holds table and figures.

The page needs nothing but itself and follows the reader's light or dark theme. Left out: what the cells say.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from reflow.errors import UserError
from reflow.files import replace_file, replace_text
from reflow.reports.compare import RunComparison
from reflow.reports.comparison_figure import comparison_figure
from reflow.reports.comparison_table import body, caption, csv_text, header, markdown
from reflow.reports.curves_figure import curves_figure
from reflow.reports.template import Picture, Section, render_page
from reflow.reports.theme import themed_svg

DPI = 150
_ON_THE_WAY = (
    "The first endpoint error of the table, mean over seeds; seconds are of training, without validations."
)
_LOW = "lines that fall fast and end low: at equal steps on the left, at equal seconds on the right."
_READING = "One panel per figure, one line per row of the table."
_GOOD = "where the arrow of the title points, ↓ left, ↑ right; rings far apart are seeds that disagree."


def write_comparison(comparison: RunComparison, folder: Path) -> tuple[Path, ...]:
    """Writes ``comparison.{md,csv,png,html}``, and ``comparison_curves.png`` where the runs logged on their way.

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
    figure, curves = comparison_figure(comparison), curves_figure(comparison)
    shown = [Picture(themed_svg(figure, "comparison", "Dot plots of every metric, by row"), _READING, _GOOD)]
    if curves is not None:
        label = "Lines of the error by training step and by seconds"
        shown.append(Picture(themed_svg(curves, "curves", label), _ON_THE_WAY, _LOW))
    written = (
        replace_text(folder / "comparison.md", markdown(comparison)),
        replace_text(folder / "comparison.csv", csv_text(comparison)),
        _save(figure, folder / "comparison.png"),
        replace_text(folder / "comparison.html", page(comparison, shown)),
    )
    return written if curves is None else (*written, _save(curves, folder / "comparison_curves.png"))


def page(comparison: RunComparison, figures: Sequence[Picture]) -> str:
    """The whole page.

    Args:
        comparison: shown as a table.
        figures: of the same.
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
        Section("figure", "The same as a picture", figures=list(figures)),
    ]
    told = [text for text in (caption(comparison), *comparison.notes) if text]
    return render_page(f"{runs} run{'s' if runs != 1 else ''} compared", sections, told=told, wide=True)


def _save(figure: Figure, path: Path) -> Path:
    return replace_file(path, lambda place: figure.savefig(place, format="png", dpi=DPI))
