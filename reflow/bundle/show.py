"""What ``export.json`` holds, as tables for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from reflow.bundle.latency import STAGES, TOTAL
from reflow.doctor.finding import Table


def export_tables(content: Mapping[str, Any]) -> Iterator[Table]:
    """The proof, the errors of ONNX, and the latencies; what was not asked for is left out.

    Args:
        content: of ``export.json``.
    """
    proof = content["proof"]
    yield Table(
        f"{content['type']}, {_steps(content['num_steps'])}, by stock LeRobot in a fresh process without network",
        ("observations", "of", "largest difference of an action", "seconds"),
        (
            (
                str(proof["observations"]),
                proof["where"],
                "none" if proof["error"] == 0.0 else f"{proof['error']:.2g} of the largest",
                f"{proof['seconds']:.0f}",
            ),
        ),
    )
    if content["onnx"]:
        yield Table(
            "Endpoint error of onnxruntime, same noise",
            ("", "mean", "largest", "largest value off by", "rounding allows", "chunks"),
            tuple(
                (
                    name,
                    _share(entry["mean"]),
                    _share(entry["largest"]),
                    f"{entry['apart']:.1e}",
                    f"{entry['bound']:.1e}",
                    str(entry["chunks"]),
                )
                for name, entry in content["onnx"].items()
            ),
        )
    if content["latency"]:
        yield Table(
            f"One chunk in ms, p50 / p95 of {content['latency'][0]['chunks']} chunks",
            ("", *STAGES, TOTAL),
            tuple(
                (_way(row), *(_both(row, stage) for stage in (*STAGES, TOTAL))) for row in content["latency"]
            ),
        )


def _way(row: Mapping[str, Any]) -> str:
    return row["way"] if row["halves"] == 2 else f"{row['way']} (prefix eager)"


def _both(row: Mapping[str, Any], stage: str) -> str:
    return f"{row['p50_ms'][stage]:.3g} / {row['p95_ms'][stage]:.3g}"


def _share(value: float) -> str:
    return f"{100 * value:.2g} %"


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
