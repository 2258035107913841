"""Does the distillation asked about fit this machine, and how long will it take? Figures in readable units."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from reflow.doctor.cost import Plan, estimate, measure_step
from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.policies import FlowPolicy
from reflow.probes import Observed

DAY = 86_400.0


def cost_check(teacher: FlowPolicy, folder: Path, one: Observed, plan: Plan) -> Check:
    """Measures one step, and says what the whole will take and whether this machine has it.

    Args:
        teacher: in eval mode. What it shares with a student is frozen afterwards.
        folder: its folder.
        one: held-out observations.
        plan: what is asked about.
    """
    figures = estimate(measure_step(teacher, folder, one, plan), plan, folder)
    figures["memory_available_bytes"] = float(_available_memory(next(teacher.parameters()).device))
    figures["disk_free_bytes"] = float(shutil.disk_usage(Path.cwd()).free)
    lines = [
        (
            "time",
            duration(figures["seconds"]),
            f"{plan.max_steps} steps of {figures['seconds_per_step']:.3g} s: encode {figures['encode_seconds']:.2g}, "
            f"teacher {figures['teacher_seconds']:.2g}, student {figures['student_seconds']:.2g}, "
            f"data {figures['load_seconds']:.2g}",
        ),
        (
            "memory",
            size(figures["memory_bytes"]),
            f"weights {size(figures['weight_bytes'])}, gradients {size(figures['gradient_bytes'])}, Adam "
            f"{size(figures['adam_bytes'])}, average {size(figures['average_bytes'])}, activations "
            f"{size(figures['activation_bytes'])}",
        ),
        (
            "disk",
            size(figures["disk_bytes"]),
            f"student {size(figures['student_bytes'])}, checkpoint {size(figures['checkpoint_bytes'])}, twice while "
            "written",
        ),
    ]
    table = Table("the distillation asked about", ("", "estimate", "of which"), rows(lines))
    return Check("cost", figures, cost_findings(figures, plan), (table,))


def cost_findings(figures: dict[str, float], plan: Plan) -> tuple[Finding, ...]:
    """Whether it fits, and how long it takes."""
    found = []
    if figures["memory_bytes"] > figures["memory_available_bytes"]:
        found.append(
            Finding(
                "memory",
                "warning",
                f"It needs about {size(figures['memory_bytes'])} of memory, "
                f"{size(figures['memory_available_bytes'])} are free.",
                f"Activations of a batch of {plan.batch_size} are {size(figures['activation_bytes'])} of it.",
                f"data.batch_size={max(1, plan.batch_size // 2)}",
            )
        )
    if figures["disk_bytes"] > figures["disk_free_bytes"]:
        found.append(
            Finding(
                "disk",
                "warning",
                f"It needs about {size(figures['disk_bytes'])} of disk, {size(figures['disk_free_bytes'])} are free.",
                "The run would end without its student.",
                "run_dir=DIR on another disk",
            )
        )
    long = figures["seconds"] > DAY
    found.append(
        Finding(
            "cost",
            "note" if long else "ok",
            f"{plan.max_steps} steps of {plan.batch_size} x {plan.draws} pairs take about "
            f"{duration(figures['seconds'])} here (validation aside), {size(figures['memory_bytes'])} of memory and "
            f"{size(figures['disk_bytes'])} of disk.",
        )
    )
    return tuple(found)


def duration(seconds: float) -> str:
    """Readable: 40 s, 12 min, 3.4 h, 2.1 days."""
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (2 * DAY, 3600, "h")):
        if seconds < limit:
            return f"{seconds / unit:.2g} {name}" if seconds / unit < 10 else f"{seconds / unit:.0f} {name}"
    return f"{seconds / DAY:.3g} days"


def size(count: float) -> str:
    """Readable, in decimal units: 3.2 MB, 4 GB."""
    return f"{count / 1e9:.3g} GB" if count >= 1e9 else f"{count / 1e6:.3g} MB"


def _available_memory(device: torch.device) -> int:
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    meminfo = Path("/proc/meminfo")
    if not meminfo.is_file():
        return 2**63 - 1
    line = next(line for line in meminfo.read_text().splitlines() if line.startswith("MemAvailable"))
    return 1024 * int(line.split()[1])
