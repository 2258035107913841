"""Figures of a run as PNG: errors by steps, velocity error by time and dimension, padding, training loss."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

STUDENT, TEACHER, PADDING = "#0f766e", "#9a3412", "#7c3aed"


def write_figures(folder: Path, metrics: Mapping[str, float], callbacks: Mapping[str, Any]) -> list[Path]:
    """Writes what the run's callbacks measured to ``folder/figures``.

    Args:
        folder: the run's folder.
        metrics: the flat metrics.
        callbacks: by their names in ``conf/callbacks``; those left out leave their figure out.

    Returns:
        The files written.
    """
    drawn: dict[str, Figure] = {}
    if "endpoints" in callbacks:
        drawn["endpoint_error"] = endpoint_error(metrics)
    if "deploy" in callbacks and callbacks["deploy"].profile is not None:
        deploy = callbacks["deploy"]
        drawn["velocity_error"] = velocity_error(deploy.profile.numpy())
    if "padding" in callbacks and callbacks["padding"].histograms:
        drawn["padding"] = padding_histograms(callbacks["padding"].histograms)
    (folder / "figures").mkdir(exist_ok=True)
    paths = []
    for name, figure in drawn.items():
        paths.append(folder / "figures" / f"{name}.png")
        figure.savefig(paths[-1], dpi=120, bbox_inches="tight")
        plt.close(figure)
    return paths


def endpoint_error(metrics: Mapping[str, float]) -> Figure:
    """Endpoint error by number of Euler steps, with the teacher's floors."""
    figure, axes = plt.subplots(figsize=(6, 4))
    for who, color, label in (("student", STUDENT, "student"), ("teacher", TEACHER, "teacher, undistilled")):
        prefix = f"{who}/endpoint_error@"
        points = sorted(
            (int(key.removeprefix(prefix)), value) for key, value in metrics.items() if key.startswith(prefix)
        )
        steps, errors = zip(*((n, 100 * error) for n, error in points if error > 0), strict=True)
        axes.plot(steps, errors, "o-", color=color, label=label)
        for n, error in zip(steps, errors, strict=True):
            axes.annotate(
                f"{error:.1f}", (n, error), textcoords="offset points", xytext=(4, 6), color=color, fontsize=8
            )
    if "teacher/solver_error" in metrics:
        floor = 100 * metrics["teacher/solver_error"]
        axes.axhline(floor, color="grey", linestyle="--", label=f"teacher's own solver error, {floor:.1f} %")
    axes.set(
        xscale="log",
        yscale="log",
        xlabel="integration steps",
        ylabel="endpoint error, % of the teacher's chunk",
    )
    axes.set_xticks([n for n, _ in points], [str(n) for n, _ in points])
    axes.minorticks_off()
    axes.margins(x=0.1, y=0.15)
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def velocity_error(profile: np.ndarray) -> Figure:
    """Heat map of the mean squared velocity error, ``[time bins, d]``."""
    figure, axes = plt.subplots(figsize=(8, 4))
    shown = np.ma.masked_invalid(profile)
    image = axes.imshow(
        shown, aspect="auto", origin="lower", extent=(-0.5, profile.shape[1] - 0.5, 0, 1), cmap="viridis"
    )
    axes.set(
        xlabel="action dimension (native)",
        ylabel="t  (0 action, 1 noise)",
        title="squared velocity error, as deployed",
    )
    figure.colorbar(image, ax=axes)
    return figure


def padding_histograms(histograms: Mapping[str, tuple[Any, Any]]) -> Figure:
    """Histograms of noise, endpoints and velocities on real and padding dimensions."""
    figure, rows = plt.subplots(1, len(histograms), figsize=(3.2 * len(histograms), 3), sharey=False)
    for axes, (name, parts) in zip(np.atleast_1d(rows), histograms.items(), strict=True):
        for part, values, color in zip(("real", "padding"), parts, (STUDENT, PADDING), strict=True):
            if values.numel():
                axes.hist(values.numpy(), bins=60, density=True, alpha=0.55, color=color, label=part)
        axes.set(title=name, yticks=[])
        axes.legend(fontsize=8)
    figure.tight_layout()
    return figure
