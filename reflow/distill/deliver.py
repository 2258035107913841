"""Hands the student over as an ordinary LeRobot policy folder, and proves that stock LeRobot gets it back.

The same is done once before the first step, with an untrained student and a folder that is thrown away
(:func:`rehearse_delivery`): what would stop the delivery costs seconds, not a training run.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.errors import UserError
from reflow.objectives import Objective
from reflow.policies import FlowPolicy, load_policy, merge_lora, save_policy, velocity_calls, with_velocity
from reflow.policies.sums import write_sums

OBSERVATIONS = 2
"""That the chunks are compared on: on a CPU a large policy takes seconds for each."""


def deliver_student(
    student: FlowPolicy, objective: Objective, source: Path, folder: Path, data: LeRobotDataModule
) -> Path:
    """Saves the student and compares what is loaded back with what was trained.

    Args:
        student: trained, on the CPU (:meth:`reflow.distill.module.Distillation.trained_student`).
        objective: it was trained with.
        source: the teacher's folder, whose processors the student keeps.
        folder: where to.
        data: gives a held-out batch for the comparison.

    Returns:
        The folder.

    Raises:
        RuntimeError: the loaded student does not give the same chunk, to the last bit.
    """
    objective.cpu().fold(student)
    merge_lora(student)
    if (difference := _there_and_back(student, source, folder, data)) != 0.0:
        raise RuntimeError(
            f"{folder}: loaded by LeRobot, the student's chunk differs by up to {difference:.3g} from the trained one"
        )
    write_sums(folder)
    return folder


def rehearse_delivery(
    student: Callable[[], FlowPolicy],
    objective: Callable[[], Objective],
    source: Path,
    folder: Path,
    data: LeRobotDataModule,
) -> None:
    """Delivers an untrained student for real, into a folder beside ``folder`` that is gone afterwards.

    Torch's generators, and the student and the teacher that are trained with, stay as they are.

    Args:
        student: makes one, which shares nothing with the teacher.
        objective: makes the run's.
        source: the teacher's folder.
        folder: where the run will go; it is not made.
        data: gives a held-out batch for the comparison.

    Raises:
        UserError: the student cannot be written there, or LeRobot would not get back what was trained.
    """
    place = next(parent for parent in folder.resolve().parents if parent.is_dir())
    place = folder if folder.is_dir() else place
    try:
        with (
            torch.random.fork_rng(devices=[]),
            tempfile.TemporaryDirectory(dir=place, prefix=".reflow-", ignore_cleanup_errors=True) as scratch,
        ):
            fresh, aim = student().cpu(), objective()
            aim.prepare(fresh)
            aim.cpu().fold(fresh.eval())
            merge_lora(fresh)
            difference = _there_and_back(fresh, source, Path(scratch, "pretrained_model"), data)
    except OSError as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"run_dir={folder}: a student cannot be written there ({error.strerror or error}); make room and rights "
            "there, or choose another folder (run_dir=DIR). Nothing was trained yet"
        ) from error
    if difference != 0.0:
        raise UserError(
            f"{source}: delivered untrained, as a trial, the student's chunk in LeRobot differs by up to "
            f"{difference:.3g} from ours, so it would not be what was trained. A setting of its config.json changes "
            "what LeRobot makes of it: compare with python -m reflow.diagnose. Nothing was trained yet"
        )


def _there_and_back(student: FlowPolicy, source: Path, folder: Path, data: LeRobotDataModule) -> float:
    """How far the chunk of the student that LeRobot loads is from this one's; nan where one is no number."""
    student = with_velocity(student, "stock")  # the comparison is to the last bit
    save_policy(student, source, folder)
    batch = dict(next(iter(data.val_dataloader())))
    size = len(batch.pop(SAMPLE))
    del batch[VISIT]
    batch, size = student.rows(batch, size, OBSERVATIONS), min(size, OBSERVATIONS)
    space = student.space
    shape = (size, space.chunk_size, space.max_action_dim)
    noise = student.base_noise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        ours = student.output(student.walk(student.encode(batch), noise[:, None]))[:, 0]
        stocks = load_policy(folder)
        with velocity_calls(stocks) as calls:
            loaded = stocks.stock_chunk(batch, noise)
    wanted = student.num_steps * student.solver.stages
    if calls and len(calls) != wanted:
        raise RuntimeError(
            f"{folder}: LeRobot asks the student for {len(calls)} velocities, but it was made for {wanted}"
        )
    return (loaded - ours).abs().max().item()
