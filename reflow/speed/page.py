"""The benchmark's page of figures: ``benchmark.md``, with all that somebody else needs to measure the same again.

Left out: what the figures mean (docs/benchmark.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from reflow.reports.figures.drawing import steps_name
from reflow.speed.show import memory_ratios
from reflow.speed.variants import label


def page_of(content: Mapping[str, Any]) -> str:
    """The page as Markdown.

    Args:
        content: of ``benchmark.json``, with ``command`` and, where speed was measured, the findings.
    """
    hardware = content["hardware"]
    parts = [f"# Benchmark, {content['size']}", f"```\n{content['command']}\n```", _hardware(hardware)]
    if "standings" in content:
        parts += ["## Training", _standings(content)]
        if content["latency"] is not None:
            parts += ["## A chunk in deployment", _latency(content["latency"])]
        if content["ways"]:
            parts += ["## The same, run in other ways", _ways(content["ways"])]
        if content["velocities"]:
            parts += ["## Velocities", _velocities(content["velocities"])]
        settings = {name: value for name, value in content["settings"].items() if name != "variants"}
        parts += ["## Settings", _table(("key", "value"), sorted(settings.items()))]
    parts += ["## Versions", _table(("package", "version"), hardware["versions"].items())]
    return "\n\n".join(parts) + "\n"


def _hardware(hardware: Mapping[str, Any]) -> str:
    rows = [("processor", f"{hardware['processor'] or hardware['machine']}, {hardware['cores']} cores")]
    rows += [("threads", hardware["threads"]), ("system", hardware["system"])]
    if "gpu" in hardware:
        rows += [
            ("GPU", f"{hardware['gpu']}, {_gigabytes(hardware['gpu_memory'])}"),
            ("CUDA", hardware["cuda"]),
        ]
    rows += [("device", hardware["device"]), ("matmul_precision", hardware["matmul_precision"])]
    return _table(("hardware", ""), rows)


def _standings(content: Mapping[str, Any]) -> str:
    peaks, ratios = {peak["variant"]: peak for peak in content["memory"]}, memory_ratios(content)
    flops = {entry["variant"]: entry for entry in content["flops"]}
    rows = []
    for one in content["standings"]:
        name = one["variant"]
        peak, counted = peaks.get(name), flops.get(name)
        rows.append(
            (
                one["label"],
                f"{one['pairs_per_second']['median']:.4g}",
                _spread(one["ratio"], ".2f"),
                _percent(one["limit_share"] and one["limit_share"]["median"]),
                "" if peak is None else _gigabytes(peak["compared"]),
                f"{ratios[name]:.2f}" if name in ratios else "",
                "" if counted is None else f"{counted['rate'] / 1e12:.3g}",
                "" if counted is None else _percent(counted["share_of_peak"]),
            )
        )
    alone = [
        (label(name), "", "", "", _gigabytes(peak["compared"]), "1.00", "", "")
        for name, peak in peaks.items()
        if name not in {one["variant"] for one in content["standings"]}
    ]
    heads = ("", "pairs/s", "times the reference (10 to 90 %)", "of the limit", "peak memory")
    return _table((*heads, "over the student alone", "TFLOP/s", "of the GPU's peak"), [*rows, *alone])


def _latency(latency: Mapping[str, Any]) -> str:
    keys = [f"{part}_{rank}_ms" for part in ("prefix", "velocity", "total") for rank in ("p50", "p95")]
    rows = [
        (steps_name(f"{row['name']}@{row['nfe']}"), *(f"{row[key]:.4g}" for key in keys))
        for row in latency["rows"]
    ]
    heads = [f"{part}, {rank}" for part in ("prefix", "velocities", "both") for rank in ("median", "95 %")]
    stock = f"Student through stock LeRobot: {_spread(latency['stock_ms'], '.4g')} ms, "
    return _table(("ms", *heads), rows) + f"\n\n{stock}{_spread(latency['over_floor'], '.3f')} of its parts."


def _ways(ways: Iterable[Mapping[str, Any]]) -> str:
    ways = sorted(ways, key=lambda one: one["policy"] == "student")
    firsts = {one["policy"]: one["chunk_ms"] for one in ways if one["way"] == "eager"}
    rows = []
    for one in ways:
        name = steps_name(f"{one['policy']}@{one['nfe']}")
        if one["why_not"] is not None:
            rows.append((name, one["way"], one["why_not"].splitlines()[0].replace("|", "/"), "", "", ""))
            continue
        eager = firsts.get(one["policy"])
        faster = eager["median"] / one["chunk_ms"]["median"] if eager else None
        figures = (_spread(one["velocities_ms"], ".4g"), _spread(one["chunk_ms"], ".4g"))
        rows.append(
            (
                name,
                one["way"],
                *figures,
                f"{faster:.2f}" if faster else "",
                f"{one['relative_difference']:.1e}",
            )
        )
    return _table(("ms", "way", "velocities", "chunk", "times as fast", "off the eager endpoint"), rows)


def _velocities(costs: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            cost["by"],
            cost["draws"],
            _spread(cost["forward_ms"], ".3g"),
            _spread(cost["training_ms"], ".3g"),
            f"{cost['relative_difference']:.1e}",
        )
        for cost in costs
    ]
    return _table(("ms per pair", "K", "forward", "with backward", "relative difference"), rows)


def _table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)


def _spread(spread: Mapping[str, float] | None, form: str) -> str:
    if spread is None:
        return ""
    low, median, high = (format(spread[key], form) for key in ("low", "median", "high"))
    return f"{median} ({low} to {high})"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"


def _gigabytes(count: float) -> str:
    return f"{count / 1e9:.2f} GB"
