"""The tables at the end of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isfinite
from pathlib import Path

from rich.console import Console
from rich.table import Table

from reflow.reports.reaction import MEASURED, ReactionRow, best_rows, reaction_rows
from reflow.reports.verdict import conclusion_of, held_against
from reflow.simulator.success import Success

_DISTANCES = (
    ("sliced Wasserstein distance", "sliced_wasserstein"),
    ("energy distance", "energy"),
    ("maximum mean discrepancy", "mmd"),
    ("variance ratio", "variance_ratio"),
    ("mode coverage", "mode_coverage"),
)
_MOTION = (
    ("jerk (unit/s^3)", "jerk"),
    ("jump between chunks", "boundary_jump_mean"),
    ("beyond joint limits", "limit_violations"),
    ("gripper flips", "gripper_flips"),
)


def print_summary(metrics: Mapping[str, float], success: Success, verdict: str, folder: Path) -> None:
    """Prints the figures a person asks for first, the verdict, and where everything is.

    Args:
        metrics: the flat metrics.
        success: in the simulator; empty where it was not asked.
        verdict: one sentence.
        folder: of the results.
    """
    console = Console()
    for table in (
        _endpoints(metrics),
        _distances(metrics),
        _motion(metrics),
        _latency(metrics),
        _success(success),
        _reaction(metrics),
        _jumps(metrics),
    ):
        if table.row_count:
            console.print(table)
    for comparison in success.comparisons:
        console.print(comparison, soft_wrap=True)
    console.print(f"\n[bold]{verdict}[/bold]\n{folder / 'report.html'}", soft_wrap=True, highlight=False)


def _endpoints(metrics: Mapping[str, float]) -> Table:
    table = Table(title="endpoint error against the teacher (real dimensions)")
    for name in ("steps", "student", "teacher, undistilled", "student, physical RMSE"):
        table.add_column(name, justify="right")
    for n in _steps(metrics, "student/endpoint_error@"):
        table.add_row(
            str(n),
            f"{metrics[f'student/endpoint_error@{n}']:.2%}",
            f"{metrics[f'teacher/endpoint_error@{n}']:.2%}",
            f"{metrics[f'student/endpoint_rmse_physical@{n}']:.4g}",
        )
    return table


def _distances(metrics: Mapping[str, float]) -> Table:
    steps = _steps(metrics, "distribution/energy@")
    table = Table(
        "", *(f"student@{n}" for n in steps), "teacher, other noises", title="distribution per observation"
    )
    for label, name in _DISTANCES if steps else ():
        keys = [f"distribution/{name}@{n}" for n in steps] + [f"distribution/{name}_null"]
        table.add_row(label, *(f"{metrics[key]:.4g}" if key in metrics else "-" for key in keys))
    return table


def _motion(metrics: Mapping[str, float]) -> Table:
    contenders = sorted({key.split("/")[1] for key in metrics if key.startswith("motion/")}, reverse=True)
    table = Table("", *contenders, title="motion in open loop, physical units")
    for label, name in _MOTION if contenders else ():
        keys = [f"motion/{contender}/{name}" for contender in contenders]
        table.add_row(label, *(f"{metrics[key]:.4g}" if key in metrics else "-" for key in keys))
    return table


def _latency(metrics: Mapping[str, float]) -> Table:
    table = Table(title="latency of a chunk, median (95th percentile), ms")
    for name in ("steps", "prefix", "velocities", "both"):
        table.add_column(name, justify="right")
    for n in _steps(metrics, "latency/student@"):
        times = [f"latency/student@{n}/{part}" for part in ("prefix", "velocity", "total")]
        table.add_row(str(n), *(f"{metrics[f'{t}_p50']:.1f} ({metrics[f'{t}_p95']:.1f})" for t in times))
    return table


def _success(success: Success) -> Table:
    reference = held_against(success.metrics)
    paired = (f"paired with {reference}",) if reference else ()
    table = Table(
        "", "episodes", "success", "95 % interval", *paired, "reward", "length", title="in the simulator"
    )
    for row in success.rows:
        pair = f"success/{row.name}@{row.num_steps}_vs_{reference}"
        table.add_row(
            f"{row.name}@{row.num_steps}",
            f"{row.episodes:,}",
            f"{row.successes / row.episodes:.1%}",
            f"{row.low:.1%} to {row.high:.1%}",
            *(conclusion_of(success.metrics, pair) or "-" for _ in paired),
            f"{row.mean_reward:.2f}",
            f"{row.mean_length:.0f}",
        )
    return table


def _reaction(metrics: Mapping[str, float]) -> Table:
    return _by_latency(
        "success by latency of a chunk (actions played of each)",
        best_rows(reaction_rows(metrics)),
        lambda row: f"{row.rate:.1%} ({row.n_action_steps})",
    )


def _jumps(metrics: Mapping[str, float]) -> Table:
    return _by_latency(
        "largest jump of a joint between chunks there (median episode)",
        [row for row in best_rows(reaction_rows(metrics)) if isfinite(row.jump)],
        lambda row: f"{row.jump:.3g}",
    )


def _by_latency(title: str, rows: Sequence[ReactionRow], cell: Callable[[ReactionRow], str]) -> Table:
    latencies = {
        row.latency: row.ms for row in sorted(rows, key=lambda row: (row.latency != MEASURED, row.ms))
    }
    table = Table("", *latencies, title=title)
    for name in dict.fromkeys(row.name for row in rows):
        own = {row.latency: row for row in rows if row.name == name}
        label = f"{name}, {own[MEASURED].ms:.4g} ms" if MEASURED in own else name
        table.add_row(label, *(cell(own[key]) if key in own else "-" for key in latencies))
    return table


def _steps(metrics: Mapping[str, float], prefix: str) -> list[int]:
    return sorted({int(key.removeprefix(prefix).split("/")[0]) for key in metrics if key.startswith(prefix)})
