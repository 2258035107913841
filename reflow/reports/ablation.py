"""What ``+experiment=padding_ablation`` measured: the one place that advice, warnings and documentation quote from.

Read from ``data/ablation.json``; ``python -m reflow.reports.ablation`` prints the documentation's table.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from reflow.files import read_json

NEVER, SUPERVISED = "never supervised", "supervised"
_BROKEN_GAP = 2.0  # bold in the table: from here on, training and deployment tell different stories
_HEAD = (
    "| Teacher's padding | `+fix=` | reported loss | deploy loss | deploy gap | velocity error | endpoint error @1 "
    "| @2 | @4 | @10 | success @1 | @10 |",
    "|---|---|" + 10 * "---:|",
)

type Spread = Sequence[float]
"""Mean and sample standard deviation over three seeds."""


@dataclass(frozen=True)
class AblationRow:
    """One padding rule on one teacher, three seeds.

    Attributes:
        teacher: how its padding was trained, ``NEVER`` or ``SUPERVISED``.
        fix: as ``+fix=`` takes it.
        reported_loss, deploy_loss: of training, and of what deployment sees on real dimensions.
        deploy_gap: the latter over training's on real dimensions.
        velocity_error: in percent.
        endpoint_error_1: in percent, at one step.
        endpoint_error_2, endpoint_error_4, endpoint_error_10: the same at more steps, mean.
        success_1, success_10: of 90 episodes, in percent.
    """

    teacher: str
    fix: str
    reported_loss: Spread
    deploy_loss: Spread
    deploy_gap: Spread
    velocity_error: Spread
    endpoint_error_1: Spread
    endpoint_error_2: float
    endpoint_error_4: float
    endpoint_error_10: float
    success_1: int
    success_10: int

    def markdown(self) -> str:
        """The row of the table."""
        gap = _text(self.deploy_gap, 2)
        errors = (self.endpoint_error_2, self.endpoint_error_4, self.endpoint_error_10)
        cells = (
            self.teacher,
            f"`{self.fix}`",
            _text(self.reported_loss, 3),
            _text(self.deploy_loss, 3),
            f"**{gap}**" if self.deploy_gap[0] >= _BROKEN_GAP else gap,
            f"{_text(self.velocity_error, 1)} %",
            f"{_text(self.endpoint_error_1, 1)} %",
            *(f"{error:.1f} %" for error in errors),
            f"{self.success_1} %",
            f"{self.success_10} %",
        )
        return f"| {' | '.join(cells)} |"


@cache
def ablation() -> dict[tuple[str, str], AblationRow]:
    """Every row by teacher and fix, in the order of the table."""
    rows = read_json(Path(__file__).with_name("data") / "ablation.json")
    return {(row["teacher"], row["fix"]): AblationRow(**row) for row in rows}


def healthy_ranges(harmful: Collection[str]) -> tuple[str, str]:
    """Deploy gap and endpoint error@10 of the other rules, on the teacher whose padding was never supervised.

    Args:
        harmful: fixes to leave out.

    Returns:
        ``0.7 to 1.0`` and ``9 to 10 %``.
    """
    rows = [row for (teacher, fix), row in ablation().items() if teacher == NEVER and fix not in harmful]
    gaps, errors = [row.deploy_gap[0] for row in rows], [row.endpoint_error_10 for row in rows]
    return f"{min(gaps):.1f} to {max(gaps):.1f}", f"{min(errors):.0f} to {max(errors):.0f} %"


def markdown_table() -> str:
    """The table of the documentation, without a line end after its last row."""
    return "\n".join((*_HEAD, *(row.markdown() for row in ablation().values())))


def _text(spread: Spread, digits: int) -> str:
    mean, deviation = spread
    return f"{mean:.{digits}f} ± {deviation:.{digits}f}"


if __name__ == "__main__":
    print(markdown_table())
