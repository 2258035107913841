"""The table of a page that sets the teacher against the student.

A cell without a figure is a dash; a row or a column without any is left out.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import isfinite

from reflow.reports.content import Content
from reflow.reports.figures.drawing import by_steps, contenders, percent, short, steps_name
from reflow.reports.template import Table
from reflow.reports.verdict import conclusion_of, held_against

DASH = "–"  # noqa: RUF001  an en dash


def overview(content: Content) -> Table | None:
    """Teacher against student: success, reward, endpoint error, latency, number of velocities."""
    success = {f"{row.name}@{row.num_steps}": row for row in content.success}
    latency = {f"{row.name}@{row.nfe}": row for row in content.latency}
    errors, physical = (
        {
            f"{who}@{n}": value
            for who in ("teacher", "student")
            for n, value in by_steps(content.metrics, f"{who}/{name}").items()
        }
        for name in ("endpoint_error", "endpoint_rmse_physical")
    )
    names = contenders([*success, *(_essential(errors) or latency)])
    if not names:
        return None
    rates = {
        name: percent(row.successes / row.episodes) + _interval(row.low, row.high)
        for name, row in success.items()
    }
    reference = held_against(content.metrics)
    found = {name: conclusion_of(content.metrics, f"success/{name}_vs_{reference}") for name in names}
    conclusions = {name: conclusion for name, conclusion in found.items() if conclusion}
    columns: list[tuple[str, str, dict[str, str]]] = [
        ("nfe", "", {name: name.partition("@")[2] for name in names}),
        ("success", "95 % interval", rates),
        ("paired", f"with {reference}", conclusions),
        ("reward", "mean best", {name: short(row.mean_reward) for name, row in success.items()}),
        ("length", "control steps", {name: short(row.mean_length) for name, row in success.items()}),
        (
            "endpoint error",
            "to the teacher",
            {name: percent(v) if v else "itself" for name, v in errors.items()},
        ),
        ("physical error", "joint mean", {name: short(v) if v else "itself" for name, v in physical.items()}),
        ("latency", "ms a chunk", {name: short(row.total_p50_ms) for name, row in latency.items()}),
    ]
    columns = [(title, note, _known(cells)) for title, note, cells in columns]
    columns = [column for column in columns if column[2]]
    return Table(
        ("", *(title for title, _, _ in columns)),
        tuple((steps_name(name), *(cells.get(name, DASH) for _, _, cells in columns)) for name in names),
        ("", *(note for _, note, _ in columns)),
    )


def own_steps(content: Content, measured: Collection[int]) -> int:
    """The student's own number of steps, as its picture shows them; the fewest measured where there is none.

    Args:
        content: of the report.
        measured: numbers of steps to choose from; one or more.
    """
    fan = content.arrays.get("fan/student")
    own = 0 if fan is None else int(fan.shape[1]) - 1
    return own if own in measured else min(measured)


def _interval(low: float, high: float) -> str:
    return f" ({100 * low:.1f}{DASH}{100 * high:.1f})" if isfinite(low) and isfinite(high) else ""


def _known(cells: Mapping[str, str]) -> dict[str, str]:
    return {name: text for name, text in cells.items() if "nan" not in text}


def _essential(values: Mapping[str, float]) -> list[str]:
    """Of each who the fewest steps; of the teacher its own too, at which it is not away from itself."""
    ordered = contenders(values)
    fewest = [[name for name in ordered if name.startswith(f"{who}@")][-1:] for who in ("teacher", "student")]
    return [*fewest[0], *fewest[1], *(name for name in ordered if values[name] == 0)]
