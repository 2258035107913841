"""What a diagnosis consists of: figures, findings and tables, check by check. Left out: every check, and printing."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["ok", "note", "warning", "error"]
"""``warning``: distill only once it is mended or understood. ``error``: figures will be wrong until it is mended."""

HEALTHY, FINDINGS, CANNOT_RUN = 0, 1, 2
"""Exit codes."""


@dataclass(frozen=True)
class Finding:
    """One thing a check found out.

    Attributes:
        name: which, e.g. ``solver_error``; stable, for machines.
        severity: see `Severity`.
        what: a sentence with the figures.
        how_bad: what it does to a distillation, or how far from the limit it is.
        what_to_do: the override to paste, or advice where no override mends it; None where nothing is to be done.
    """

    name: str
    severity: Severity
    what: str
    how_bad: str = ""
    what_to_do: str | None = None


@dataclass(frozen=True)
class Table:
    """A small table for people.

    Attributes:
        title: what it shows.
        columns: headings; the first column holds names.
        rows: cells as they are printed.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Check:
    """What one check measured and what it makes of it.

    Attributes:
        name: which, e.g. ``padding``; prefix of its figures.
        figures: flat; by name within the check.
        findings: at least one, so that silence never reads as health.
        tables: for people.
    """

    name: str
    figures: dict[str, float]
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """All checks of one teacher, and of a student where there is one.

    Attributes:
        checks: in order.
        measured: figures that training and evaluation log too, by the same names.
    """

    checks: tuple[Check, ...]
    measured: Mapping[str, float] = field(default_factory=dict)

    @property
    def figures(self) -> dict[str, float]:
        """Flat: what was measured, and ``<check>/<figure>`` of the checks' own."""
        own = {
            f"{check.name}/{name}": value for check in self.checks for name, value in check.figures.items()
        }
        return {**self.measured, **own}

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Of every check, in order."""
        return tuple(finding for check in self.checks for finding in check.findings)

    @property
    def complaints(self) -> tuple[Finding, ...]:
        """Those that make the exit code 1."""
        return tuple(finding for finding in self.findings if finding.severity in ("warning", "error"))

    @property
    def exit_code(self) -> int:
        """0 healthy, 1 with findings."""
        return FINDINGS if self.complaints else HEALTHY

    @property
    def verdict(self) -> str:
        """One sentence."""
        notes = sum(finding.severity == "note" for finding in self.findings)
        also = f" ({notes} note{'s' if notes != 1 else ''} besides)" if notes else ""
        if not self.complaints:
            return f"Healthy: nothing stands against this distillation{also}."
        names = ", ".join(finding.name for finding in self.complaints)
        many = len(self.complaints)
        return f"{many} finding{'s' if many != 1 else ''} to mend first: {names}{also}."

    def as_json(self) -> dict[str, Any]:
        """For machines: JSON-able, without nan."""
        return {
            "exit_code": self.exit_code,
            "verdict": self.verdict,
            "figures": {
                name: value if math.isfinite(value) else None for name, value in self.figures.items()
            },
            "findings": [
                {"check": check.name, **finding.__dict__}
                for check in self.checks
                for finding in check.findings
            ],
        }


def rows(cells: Iterable[Sequence[object]]) -> tuple[tuple[str, ...], ...]:
    """Cells as text: floats to four digits, everything else as it is."""
    return tuple(tuple(_text(cell) for cell in row) for row in cells)


def _text(cell: object) -> str:
    if isinstance(cell, float):
        return "-" if math.isnan(cell) else f"{cell:.4g}"
    return str(cell)
