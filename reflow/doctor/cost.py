"""What the distillation asked about will take: time, memory, disk; from one real step measured on this machine.

Time is that of the training steps. Validation and the final measurement come on top, in proportion to held-out
frames.
Activations are counted exactly: the tensors that autograd keeps for the backward pass.

Left out: several devices, mixed precision; and what the figures mean (:mod:`reflow.doctor.cost_report`).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from reflow.flow import Solver, integrate
from reflow.policies import (
    VELOCITY,
    FlowPolicy,
    load_policy,
    share_frozen,
    shares_prefix,
    train_groups,
    with_lora,
)
from reflow.probes import Observed
from reflow.probes.clock import seconds_of

_REPEATS = 3


@dataclass(frozen=True)
class Plan:
    """The distillation asked about, as ``reflow.train`` would be told.

    Attributes:
        max_steps, batch_size, draws, times: of the training.
        num_steps, solver: of the teacher.
        trained: parameter groups of the student in training.
        lora: rank of low-rank additions in the place of large layers, or None.
        num_workers, preload: how frames come.
        frame_seconds: to decode and preprocess one frame, measured.
        frames: of the training episodes.
    """

    max_steps: int
    batch_size: int
    draws: int
    times: int
    num_steps: int
    solver: Solver
    trained: tuple[str, ...] = (VELOCITY,)
    lora: int | None = None
    num_workers: int = 0
    preload: bool = False
    frame_seconds: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class Step:
    """One training step, measured on ``observations`` observations.

    Attributes:
        observations: as many as there were at hand.
        encode, walk, learn: seconds; of the teacher's encoding, the teacher's endpoints, the student's forward,
            backward and update.
        activation_bytes: kept for the backward pass.
        trainable_bytes, weight_bytes: of the student's trained parameters; of all the teacher's.
    """

    observations: int
    encode: float
    walk: float
    learn: float
    activation_bytes: int
    trainable_bytes: int
    weight_bytes: int


def measure_step(teacher: FlowPolicy, folder: Path, one: Observed, plan: Plan) -> Step:
    """Times one step of a throw-away student.

    Args:
        teacher: in eval mode. What it shares with the student is frozen afterwards.
        folder: its folder.
        one: held-out observations; at most ``batch_size`` of them are taken.
        plan: what is asked about.
    """
    device = next(teacher.parameters()).device
    student = load_policy(folder, device)
    if plan.lora is None:
        train_groups(student, plan.trained)
        share_frozen(teacher, student)
    else:
        student = with_lora(student, teacher, plan.lora, groups=plan.trained)
    trainable = [parameter for parameter in student.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=0.0)
    size = min(len(one.sample), plan.batch_size)
    batch = teacher.rows(one.batch, len(one.sample), size)
    space = teacher.space
    noise = torch.randn(size, plan.draws, space.chunk_size, space.max_action_dim, device=device)
    t = torch.ones(size, plan.draws * plan.times, device=device)
    kept: dict[int, int] = {}

    def encode() -> Any:
        with torch.no_grad():
            return teacher.encode(batch)

    def walk() -> Tensor:
        with torch.no_grad():
            return integrate(teacher.field(context), noise, plan.num_steps, plan.solver, time_dims=2).endpoint

    def learn() -> None:
        own = context if shares_prefix(teacher, student) else student.encode(batch)
        x_t = noise.repeat_interleave(plan.times, 1)
        student.velocity(own, x_t, t).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if tensor.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    context = encode()
    weights = {parameter.data_ptr() for parameter in (*teacher.parameters(), *student.parameters())}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        learn()  # warms up, too
    encoding, walking, learning = (
        median(seconds_of(work, device) for _ in range(_REPEATS)) for work in (encode, walk, learn)
    )
    return Step(
        size,
        encoding,
        walking,
        learning,
        sum(kept.values()),
        _bytes(trainable),
        _bytes(list(teacher.parameters())),
    )


def estimate(step: Step, plan: Plan, folder: Path) -> dict[str, float]:
    """Seconds and bytes of the whole distillation.

    Args:
        step: measured.
        plan: what is asked about.
        folder: the teacher's; the student's will be as large.
    """
    scale = plan.batch_size / step.observations
    compute = scale * (step.encode + step.walk + step.learn)
    load = 0.0 if plan.preload else plan.batch_size * plan.frame_seconds
    # Workers decode while the device computes; without workers one waits for the other.
    seconds_per_step = max(compute, load / plan.num_workers) if plan.num_workers else compute + load
    trained = step.trainable_bytes
    student = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    checkpoint = 4 * trained  # weights, their average, Adam's two moments
    return {
        "seconds": seconds_per_step * plan.max_steps
        + (plan.frames * plan.frame_seconds if plan.preload else 0),
        "seconds_per_step": seconds_per_step,
        "encode_seconds": scale * step.encode,
        "teacher_seconds": scale * step.walk,
        "student_seconds": scale * step.learn,
        "load_seconds": load,
        "pairs_per_second": plan.batch_size * plan.draws / seconds_per_step,
        "memory_bytes": step.weight_bytes + 5 * trained + scale * step.activation_bytes,
        "weight_bytes": step.weight_bytes + trained,
        "gradient_bytes": trained,
        "adam_bytes": 2 * trained,
        "average_bytes": trained,
        "activation_bytes": scale * step.activation_bytes,
        "trainable_parameters": trained / 4,
        "disk_bytes": student + 2 * checkpoint,  # a new checkpoint is whole before the old one goes
        "checkpoint_bytes": checkpoint,
        "student_bytes": student,
    }


def _bytes(parameters: list[nn.Parameter]) -> int:
    return sum(parameter.numel() * parameter.element_size() for parameter in parameters)
