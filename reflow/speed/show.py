"""The findings as tables on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from reflow.reports.figures.drawing import steps_name
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
    heads = ["per step", *(f"to {100 * float(goal):g} %" for goal in goals), "filling", "last error"]
    first = next((entry for entry in quality["contenders"] if entry["variant"] == REFERENCE), None)
    rows = [
        (
            label(entry["variant"]),
            f"{entry['observations']} x {entry['draws']}",
            *(_time(entry["seconds_to"][goal], first and first["seconds_to"][goal]) for goal in goals),
            "" if entry["fill_seconds"] is None else f"{entry['fill_seconds']:.0f}",
            "diverged" if entry["diverged"] else f"{100 * entry['curve'][-1]['error']:.1f} %",
        )
        for entry in quality["contenders"]
    ]
    (console or _console()).print(_table("Seconds of training to an endpoint error@1", heads, rows))


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
    ratios, peaks = memory_ratios(content), {peak["variant"]: peak for peak in content["memory"]}
    shares = {flops["variant"]: flops["share_of_peak"] for flops in content["flops"]}
    standings = {standing["variant"]: standing for standing in content["standings"]}
    rows = []
    for name in dict.fromkeys([*standings, *peaks]):
        cells = [""] * 4
        if name in standings:
            one = standings[name]
            cells = [
                f"{one['pairs_per_second']['median']:.4g}",
                _spread(one["ratio"], "{:.2f}"),
                _share(one["limit_share"] and one["limit_share"]["median"]),
                _share(one["cache_overhead"]),
            ]
        memory = f"{peaks[name]['compared'] / 1e9:.2f} GB ({ratios[name]:.2f}x)" if name in ratios else ""
        rows.append([label(name), *cells, memory, *([_share(shares.get(name))] if shares else [])])
    heads = ["pairs/s", "times reference", "of limit", "cache", "memory", *(["of peak"] if shares else [])]
    return _table(f"Training, {content['size']}", heads, rows)


def _parts(content: Mapping[str, Any]) -> Table:
    rows = []
    for standing in content["standings"]:
        parts = (standing["seconds_per_pair"].get(part) for part in PARTS)
        rows.append([standing["label"], *(f"{1e3 * seconds:.3g}" if seconds else "" for seconds in parts)])
    return _table("ms per pair", PARTS, rows)


def _latency(latency: Mapping[str, Any]) -> Table:
    keys = ("prefix_p50_ms", "velocity_p50_ms", "total_p50_ms")
    rows = [
        [steps_name(f"{row['name']}@{row['nfe']}"), *(f"{row[key]:.4g}" for key in keys)]
        for row in latency["rows"]
    ]
    stock = f"[bold]{latency['stock_ms']['median']:.4g}[/]"
    rows.append(["[bold]student, stock LeRobot[/]", "", "", stock])
    rows.append(["over one prefix and one velocity", "", "", _spread(latency["over_floor"], "{:.3f}")])
    return _table("Latency, ms per chunk", ("prefix", "velocities", "both"), rows)


def _velocities(costs: list[Mapping[str, Any]]) -> Table:
    rows = [
        (
            cost["by"],
            _spread(cost["forward_ms"], "{:.3g}"),
            _spread(cost["training_ms"], "{:.3g}"),
            f"{cost['relative_difference']:.1e}" if cost["relative_difference"] else "0",
        )
        for cost in costs
    ]
    heads = ("forward", "with backward", "relative difference")
    return _table(f"Velocities, ms per pair, K={costs[0]['draws']}", heads, rows)


def _table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    """Figures below heads, a name before each row."""
    table = Table(title=title, title_justify="left", box=None, pad_edge=False)
    for head in ("", *heads):
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def _spread(spread: Mapping[str, float] | None, form: str) -> str:
    if spread is None:
        return ""
    low, median, high = (form.format(spread[key]) for key in ("low", "median", "high"))
    return f"{median} ({low}..{high})"


def _share(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
