"""Peak memory of one contender alone: ``python -m reflow.speed.memory``, a process that the benchmark starts.

Two figures: the highest the process ever had, loading included, and the highest while it trained. Left out: memory
shared between processes.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from reflow.speed.apart import run_apart
from reflow.speed.conditions import Conditions
from reflow.speed.disk import PairsOnDisk
from reflow.speed.geometry import Place
from reflow.speed.stopwatch import Stopwatch
from reflow.speed.workshop import Workshop


@dataclass(frozen=True)
class Peak:
    """Memory of one contender.

    Attributes:
        variant: its name.
        process: bytes of main memory, highest of the whole process.
        training: the same from after loading on; None where the system does not tell.
        gpu: bytes allocated on the GPU while training; None on a CPU.
    """

    variant: str
    process: int
    training: int | None
    gpu: int | None

    @property
    def compared(self) -> int:
        """The figure to compare by: where the weights are, while training."""
        return self.gpu or self.training or self.process

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"compared": self.compared}


def peak_alone(
    place: Place, conditions: Conditions, variant: str, *, pairs: PairsOnDisk | None = None, steps: int = 2
) -> Peak:
    """Runs a contender in a process of its own.

    Args:
        place: of policy and data.
        conditions: as of the comparison.
        variant: name of the contender.
        pairs: for contenders that read them.
        steps: that it trains.

    Raises:
        UserError: the process failed; its last words are in the message.
    """
    question = {
        "place": asdict(place),
        "conditions": asdict(conditions),
        "variant": variant,
        "pairs": None if pairs is None else asdict(pairs),
        "steps": steps,
        "threads": torch.get_num_threads(),
        "matmul_precision": torch.get_float32_matmul_precision(),
    }
    answer = run_apart(
        "reflow.speed.memory",
        what=f"measuring the memory of {variant!r}",
        advice="memory=false leaves this part out",
        said=json.dumps(question),
    )
    return Peak(**json.loads(answer.splitlines()[-1]))


def measure_here(question: dict[str, Any]) -> Peak:
    """Trains a contender in this process and measures what that took.

    Args:
        question: as :func:`peak_alone` asks it.
    """
    torch.set_num_threads(question["threads"])
    torch.set_float32_matmul_precision(question["matmul_precision"])
    conditions = Conditions(**question["conditions"])
    pairs = None if question["pairs"] is None else PairsOnDisk(**question["pairs"])
    workshop = Workshop(Place(**question["place"]), conditions, pairs=pairs)
    variant = workshop.variant(question["variant"])
    on_gpu = torch.device(conditions.device).type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    loading = _high_water()
    told = _forget_peak()
    watch = Stopwatch(conditions.device, coarse=True)
    for _ in range(question["steps"]):
        variant.step(watch)
    peak = _high_water()
    return Peak(
        question["variant"],
        max(loading, peak),
        peak if told else None,
        torch.cuda.max_memory_allocated() if on_gpu else None,
    )


def _forget_peak() -> bool:
    """Lets Linux count the high-water mark anew; whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _high_water() -> int:
    """Most bytes of main memory so far; Linux's ``ru_maxrss`` still counts the process that started this one."""
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text().splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    answer = asdict(measure_here(json.loads(sys.stdin.read())))
    print(json.dumps(answer))
