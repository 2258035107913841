"""Hands the student over as an ordinary LeRobot policy folder, and proves that stock LeRobot gets it back."""

from __future__ import annotations

from pathlib import Path

import torch

from reflow.data import SAMPLE, VISIT, LeRobotDataModule
from reflow.distill.module import Distillation
from reflow.policies import load_policy, save_policy, with_velocity


def deliver_student(module: Distillation, source: Path, folder: Path, data: LeRobotDataModule) -> Path:
    """Saves the student and compares what is loaded back with what was trained.

    Args:
        module: the trained module.
        source: the teacher's folder, whose processors the student keeps.
        folder: where to.
        data: gives a held-out batch for the comparison.

    Returns:
        The folder.

    Raises:
        RuntimeError: the loaded student does not give the same chunk, to the last bit.
    """
    module.objective.cpu().fold(module.student.eval().cpu())
    student = with_velocity(module.student, "stock")  # the comparison is to the last bit
    save_policy(student, source, folder)

    batch = {
        key: value for key, value in next(iter(data.val_dataloader())).items() if key not in (SAMPLE, VISIT)
    }
    space = student.space
    shape = (len(batch["observation.state"]), space.chunk_size, space.max_action_dim)
    noise = student.base_noise(torch.randn(shape, generator=torch.Generator().manual_seed(0)))
    with torch.no_grad():
        ours = student.output(student.walk(student.encode(batch), noise[:, None]))[:, 0]
        loaded = load_policy(folder).stock_chunk(batch, noise)
    difference = (loaded - ours).abs().max().item()
    if difference != 0.0:
        raise RuntimeError(
            f"{folder}: loaded by LeRobot, the student's chunk differs by up to {difference:.3g} from the trained one"
        )
    return folder
