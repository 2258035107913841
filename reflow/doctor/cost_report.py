"""Does the distillation asked about fit this machine, and how long will it take? Figures in readable units."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import torch

from reflow.doctor.cost import Plan, estimate, measure_step
from reflow.doctor.finding import Check, Finding, Table, rows
from reflow.doctor.footprint import footprint, footprint_table
from reflow.memory import available_memory
from reflow.policies import FlowPolicy
from reflow.probes import Observed
from reflow.words import duration_words, size_words

DAY = 86_400.0


def cost_check(teacher: FlowPolicy, folder: Path, one: Observed, plan: Plan) -> Check:
    """Measures one step, and says what the whole will take and whether this machine has it.

    Args:
        teacher: in eval mode. What it shares with a student is frozen afterwards.
        folder: its folder.
        one: held-out observations.
        plan: what is asked about.
    """
    weights = footprint(teacher, plan.trained, plan.lora)
    figures = estimate(measure_step(teacher, folder, one, plan), plan, folder)
    figures |= {f"{name}_bytes": float(count) for name, count in weights.bytes().items()}
    figures["memory_available_bytes"] = float(_free_memory(next(teacher.parameters()).device))
    figures["disk_free_bytes"] = float(shutil.disk_usage(Path.cwd()).free)
    words = {name: size_words(count) for name, count in figures.items() if name.endswith("_bytes")}
    lines = [
        (
            "time",
            duration_words(figures["seconds"]),
            f"{plan.max_steps} steps of {figures['seconds_per_step']:.3g} s: encode {figures['encode_seconds']:.2g}, "
            f"teacher {figures['teacher_seconds']:.2g}, student {figures['student_seconds']:.2g}, "
            f"data {figures['load_seconds']:.2g}",
        ),
        (
            "memory",
            words["memory_bytes"],
            f"weights {words['weight_bytes']}, gradients {words['gradient_bytes']}, Adam {words['adam_bytes']}, "
            f"average {words['average_bytes']}, activations {words['activation_bytes']}",
        ),
        (
            "disk",
            words["disk_bytes"],
            f"student {words['student_bytes']}, checkpoint {words['checkpoint_bytes']}, twice while written",
        ),
    ]
    table = Table("the distillation asked about", ("", "estimate", "of which"), rows(lines))
    return Check("cost", figures, tuple(cost_findings(figures, plan)), (table, footprint_table(weights)))


def cost_findings(figures: dict[str, float], plan: Plan) -> Iterator[Finding]:
    """Whether it fits, and how long it takes."""
    memory, disk = size_words(figures["memory_bytes"]), size_words(figures["disk_bytes"])
    if figures["memory_bytes"] > figures["memory_available_bytes"]:
        yield Finding(
            "memory",
            "warning",
            f"It needs about {memory} of memory, {size_words(figures['memory_available_bytes'])} are free.",
            f"Activations of a batch of {plan.batch_size} are {size_words(figures['activation_bytes'])} of it.",
            f"data.batch_size={max(1, plan.batch_size // 2)}",
        )
    if figures["disk_bytes"] > figures["disk_free_bytes"]:
        yield Finding(
            "disk",
            "warning",
            f"It needs about {disk} of disk, {size_words(figures['disk_free_bytes'])} are free.",
            "The run would end without its student.",
            "run_dir=DIR on another disk",
        )
    yield Finding(
        "cost",
        "note" if figures["seconds"] > DAY else "ok",
        f"{plan.max_steps} steps of {plan.batch_size} x {plan.draws} pairs take about "
        f"{duration_words(figures['seconds'])} here (validation aside), {memory} of memory and {disk} of disk.",
    )


def _free_memory(device: torch.device) -> int:
    if device.type != "cuda":
        return available_memory()
    return torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device)
