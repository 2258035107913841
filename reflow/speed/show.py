"""The findings as tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

from reflow.speed.stopwatch import PARTS
from reflow.speed.variants import ALONE, REFERENCE, label

_WIDTH = 110  # of a file or a pipe


def print_findings(content: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints what ``benchmark.json`` holds.

    Args:
        content: of that file.
        console: where to; None for the standard output.
    """
    console = console or _console()
    console.print(_standings(content))
    if any(standing["seconds_per_pair"] for standing in content["standings"]):
        console.print(_parts(content))
    if content["latency"] is not None:
        console.print(_latency(content["latency"]))
    if content["velocities"]:
        console.print(_velocities(content["velocities"]))


def print_race(quality: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints what ``benchmark.json`` holds under ``quality``.

    Args:
        quality: of that file.
        console: where to; None for the standard output.
    """
    goals = [f"{goal:g}" for goal in quality["settings"]["goals"]]
    reached = [f"to {100 * float(goal):g} %" for goal in goals]
    table = _table(
        "Seconds of training to an endpoint error@1", "", "per step", *reached, "filling", "last error"
    )
    first = next((entry for entry in quality["contenders"] if entry["variant"] == REFERENCE), None)
    for entry in quality["contenders"]:
        times = [_time(entry["seconds_to"][goal], first and first["seconds_to"][goal]) for goal in goals]
        fill = "" if entry["fill_seconds"] is None else f"{entry['fill_seconds']:.0f}"
        last = "diverged" if entry["diverged"] else f"{100 * entry['curve'][-1]['error']:.1f} %"
        table.add_row(
            label(entry["variant"]), f"{entry['observations']} x {entry['draws']}", *times, fill, last
        )
    (console or _console()).print(table)


def _time(seconds: float | None, reference: float | None) -> str:
    if seconds is None:
        return "not reached"
    return f"{seconds:.1f}" + (f" ({reference / seconds:.1f}x)" if reference and seconds else "")


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH)


def memory_ratios(content: Mapping[str, Any]) -> dict[str, float]:
    """Peak memory by contender, over that of training the student alone."""
    peaks = {peak["variant"]: peak["compared"] for peak in content["memory"]}
    return {name: peak / peaks[ALONE] for name, peak in peaks.items()} if ALONE in peaks else {}


def _standings(content: Mapping[str, Any]) -> Table:
    table = _table(
        f"Training, {content['size']}", "", "pairs/s", "times reference", "of limit", "cache", "memory"
    )
    ratios, peaks = memory_ratios(content), {peak["variant"]: peak for peak in content["memory"]}
    shares = {flops["variant"]: flops["share_of_peak"] for flops in content["flops"]}
    if shares:
        table.add_column("of peak", justify="right")
    rows = {standing["variant"]: standing for standing in content["standings"]}
    for name in dict.fromkeys([*rows, *peaks]):
        standing = rows.get(name)
        cells = [label(name)]
        if standing is None:
            cells += ["", "", "", ""]
        else:
            cells += [
                f"{standing['pairs_per_second']['median']:.4g}",
                _spread(standing["ratio"], "{:.2f}"),
                _share(standing["limit_share"] and standing["limit_share"]["median"]),
                _share(standing["cache_overhead"]),
            ]
        cells.append(
            f"{peaks[name]['compared'] / 1e9:.2f} GB ({ratios[name]:.2f}x)" if name in ratios else ""
        )
        if shares:
            cells.append(_share(shares.get(name)))
        table.add_row(*cells)
    return table


def _parts(content: Mapping[str, Any]) -> Table:
    table = _table("ms per pair", "", *PARTS)
    for standing in content["standings"]:
        parts = standing["seconds_per_pair"]
        table.add_row(
            standing["label"], *(f"{1e3 * parts[part]:.3g}" if parts.get(part) else "" for part in PARTS)
        )
    return table


def _latency(latency: Mapping[str, Any]) -> Table:
    table = _table("Latency, ms per chunk", "", "prefix", "velocities", "both")
    for row in latency["rows"]:
        table.add_row(
            f"{row['name']}, {row['nfe']} step{'' if row['nfe'] == 1 else 's'}",
            *(f"{row[key]:.4g}" for key in ("prefix_p50_ms", "velocity_p50_ms", "total_p50_ms")),
        )
    table.add_row("student, stock LeRobot", "", "", f"{latency['stock_ms']['median']:.4g}", style="bold")
    table.add_row("over one prefix and one velocity", "", "", _spread(latency["over_floor"], "{:.3f}"))
    return table


def _velocities(costs: list[Mapping[str, Any]]) -> Table:
    table = _table(
        f"Velocities, ms per pair, K={costs[0]['draws']}",
        "",
        "forward",
        "with backward",
        "relative difference",
    )
    for cost in costs:
        table.add_row(
            cost["by"],
            _spread(cost["forward_ms"], "{:.3g}"),
            _spread(cost["training_ms"], "{:.3g}"),
            f"{cost['relative_difference']:.1e}" if cost["relative_difference"] else "0",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column else "left", no_wrap=True)
    return table


def _spread(spread: Mapping[str, float] | None, form: str) -> str:
    if spread is None:
        return ""
    low, median, high = (form.format(spread[key]) for key in ("low", "median", "high"))
    return f"{median} ({low}..{high})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
