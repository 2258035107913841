"""On what it was measured, and what that could do at best."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from reflow.speed.stopwatch import Stopwatch
from reflow.speed.variants import Variant
from reflow.versions import versions_here

PEAK_FLOPS: dict[str, dict[str, float]] = {
    "A10": {"32-true": 31.2e12, "bf16-mixed": 125e12},
    "A100": {"32-true": 19.5e12, "bf16-mixed": 312e12},
    "H100": {"32-true": 66.9e12, "bf16-mixed": 989e12},
    "H200": {"32-true": 66.9e12, "bf16-mixed": 989e12},
    "L4": {"32-true": 30.3e12, "bf16-mixed": 121e12},
    "L40S": {"32-true": 91.6e12, "bf16-mixed": 362e12},
    "T4": {"32-true": 8.1e12},
    "V100": {"32-true": 15.7e12},
}
"""Dense operations per second by makers' data sheets, of the SXM or only version; float32 without TF32."""


def hardware_here(device: str) -> dict[str, Any]:
    """Machine, device and versions."""
    found: dict[str, Any] = {
        "machine": platform.machine(),
        "system": platform.system(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": device,
        "matmul_precision": torch.get_float32_matmul_precision(),
        "versions": versions_here(),
    }
    if torch.device(device).type == "cuda":
        properties = torch.cuda.get_device_properties(0)
        found |= {"gpu": properties.name, "gpu_memory": properties.total_memory, "cuda": torch.version.cuda}
    return found


def peak_flops(gpu: str, precision: str) -> float | None:
    """Operations per second a GPU could do at best; None where the table does not know.

    Args:
        gpu: its name, as CUDA tells it.
        precision: ``32-true`` or ``bf16-mixed``.
    """
    words = gpu.replace("-", " ").split()
    known = next((PEAK_FLOPS[word] for word in words if word in PEAK_FLOPS), {})
    return known.get(precision)


def count_flops(variant: Variant) -> int:
    """Floating-point operations of one step: matrix products and attention, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        variant.step(Stopwatch(variant.conditions.device, coarse=True))
    return counter.get_total_flops()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())
