"""The table at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.table import Table

_ROWS = (
    ("loss that training reports", "train/loss"),
    ("... on real dimensions", "train/loss_real"),
    ("loss that deployment sees, real dimensions", "deploy/loss"),
    ("deploy gap, real against real", "deploy/gap"),
    ("deploy gap, against the reported loss", "deploy/gap_reported"),
    ("relative velocity error", "velocity/relative_error"),
    ("teacher: solver error, its steps against 100", "teacher/solver_error"),
    ("teacher: padding endpoint, mean abs", "padding/teacher/endpoint_abs_mean"),
    ("teacher: padding endpoint, max abs", "padding/teacher/endpoint_abs_max"),
    ("teacher: sensitivity to padding noise", "padding/teacher/sensitivity"),
    ("student: sensitivity to padding noise", "padding/student/sensitivity"),
    ("straightness of the student (0 is straight)", "straightness/real"),
    ("pairs per second", "throughput/pairs_per_second"),
    ("share of time that waits for data", "throughput/data_wait"),
)


def print_summary(
    metrics: Mapping[str, float], folder: Path, *, hint: str | None = None, already: bool = False
) -> None:
    """Prints the figures a person asks for first, and where everything is.

    Args:
        metrics: the flat metrics of a finished run.
        folder: the run's folder.
        hint: for whoever deploys the student; None for none.
        already: the run was found finished.
    """
    console = Console()
    errors = Table(title="endpoint error against the teacher (real dimensions)")
    errors.add_column("steps", justify="right")
    errors.add_column("student", justify="right", style="bold")
    errors.add_column("teacher, undistilled", justify="right")
    prefix = "student/endpoint_error@"
    for steps in sorted(int(key.removeprefix(prefix)) for key in metrics if key.startswith(prefix)):
        errors.add_row(
            str(steps),
            f"{metrics[f'{prefix}{steps}']:.2%}",
            f"{metrics[f'teacher/endpoint_error@{steps}']:.2%}",
        )
    table = Table(title="finished already" if already else "finished", show_header=False)
    for label, key in _ROWS:
        if key in metrics:
            table.add_row(label, f"{metrics[key]:.4g}")
    console.print(table, errors)
    console.print(
        f"run     {folder}\nstudent {folder / 'pretrained_model'}  (lerobot-eval --policy.path=...)",
        soft_wrap=True,
    )
    if hint is not None:
        console.print(f"rtc     {hint}", soft_wrap=True)
