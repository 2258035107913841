"""A student: the teacher's own weights again, its prefix frozen and shared, the rest open for training."""

from __future__ import annotations

from pathlib import Path

from reflow.flow import PaddingRule
from reflow.policies import FlowPolicy, load_policy, share_frozen


def make_student(
    teacher: FlowPolicy,
    folder: Path,
    rule: PaddingRule,
    *,
    num_steps: int = 1,
    train_state_proj: bool = False,
) -> FlowPolicy:
    """A student initialised from the teacher's folder.

    Args:
        teacher: the loaded teacher; everything frozen and identical is shared with it in memory, and velocities are
            computed its way.
        folder: the folder the teacher was loaded from.
        rule: an inert padding silences the student's padding input columns.
        num_steps: integration steps it is meant for, and is saved with.
        train_state_proj: also train the state projection; the student then encodes for itself.

    Returns:
        The student, in training mode, on the teacher's device.
    """
    device = next(teacher.parameters()).device
    student = load_policy(folder, device)
    student.num_steps, student.velocity_by = num_steps, teacher.velocity_by
    student.prepare_for_distillation(train_state_proj=train_state_proj)
    if rule.inert:
        student.silence_padding()
    share_frozen(teacher, student)
    return student.train()
