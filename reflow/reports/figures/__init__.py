"""Every figure of a report, once: for the page, for PNG files and for TensorBoard.

A figure whose data are absent is left out.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from reflow.reports.content import Content
from reflow.reports.figures.deployed import draw_latency, draw_success
from reflow.reports.figures.distribution import draw_distribution
from reflow.reports.figures.drawing import Drawing
from reflow.reports.figures.endpoint import draw_endpoint_error
from reflow.reports.figures.flow import draw_flow
from reflow.reports.figures.joints import (
    draw_joint_error,
    draw_joint_motion,
    draw_motion,
    draw_straightness,
)
from reflow.reports.figures.jumps import draw_jumps
from reflow.reports.figures.padding import draw_padding
from reflow.reports.figures.reaction import draw_reaction
from reflow.reports.figures.velocity import draw_velocity_error
from reflow.reports.theme import drawing

__all__ = ["FIGURES", "Drawing", "draw", "matplotlib_figures", "write_figures"]

FIGURES: dict[str, Callable[[Content], Drawing | None]] = {
    "success": draw_success,
    "reaction": draw_reaction,
    "jumps": draw_jumps,
    "endpoint_error": draw_endpoint_error,
    "joint_error": draw_joint_error,
    "velocity_error": draw_velocity_error,
    "flow": draw_flow,
    "straightness": draw_straightness,
    "padding": draw_padding,
    "distribution": draw_distribution,
    "motion": draw_motion,
    "joint_motion": draw_joint_motion,
    "latency": draw_latency,
}
"""By name, in the order of the page."""


def draw(content: Content) -> dict[str, Drawing]:
    """Draws what there are data for."""
    with drawing():
        drawn = {name: function(content) for name, function in FIGURES.items()}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def matplotlib_figures(content: Content) -> dict[str, Figure]:
    """The same figures for PNG files and for TensorBoard's ``add_figure``, by name."""
    return {name: drawn.figure for name, drawn in draw(content).items()}


def write_figures(content: Content, folder: Path) -> list[Path]:
    """Writes ``<name>.png`` for each figure.

    Args:
        content: of the report.
        folder: made where it is missing.

    Returns:
        The files written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, figure in matplotlib_figures(content).items():
        paths.append(folder / f"{name}.png")
        with drawing():
            figure.savefig(paths[-1], dpi=150)
    return paths
