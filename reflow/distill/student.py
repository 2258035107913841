"""A student: the teacher's own weights again, its prefix frozen and shared, the rest open for training."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from reflow.errors import UserError
from reflow.flow import PaddingRule
from reflow.policies import (
    VELOCITY,
    FlowPolicy,
    PaddingInputs,
    load_policy,
    share_frozen,
    train_groups,
    with_lora,
    with_velocity,
)


def make_student(
    teacher: FlowPolicy,
    folder: Path,
    rule: PaddingRule,
    *,
    num_steps: int | Sequence[int] = 1,
    trained: Collection[str] = (VELOCITY,),
    lora: int | None = None,
    lora_alpha: float | None = None,
) -> FlowPolicy:
    """A student initialised from the teacher's folder.

    Args:
        teacher: the loaded teacher; everything frozen and identical is shared with it in memory, and velocities are
            computed its way.
        folder: the folder the teacher was loaded from.
        rule: an inert padding silences the student's padding input columns.
        num_steps: integration steps it is meant for, and is saved with; of several numbers with the smallest.
        trained: parameter groups to train (:func:`reflow.policies.parameter_groups`); with one of the prefix among
            them the student encodes for itself.
        lora: rank of low-rank additions to large layers, which are then trained in their place
            (:mod:`reflow.policies.lora`); None to train all there is in the groups.
        lora_alpha: of their scale, ``alpha / rank``; None for twice the rank.

    Returns:
        The student, in training mode, on the teacher's device.

    Raises:
        UserError: an inert padding of a policy whose padding cannot be silenced, an unknown parameter group, or a
            rank that no layer is large enough for.
    """
    device = next(teacher.parameters()).device
    student = with_velocity(load_policy(folder, device), teacher.velocity_way)
    for count in sorted((num_steps,) if isinstance(num_steps, int) else num_steps, reverse=True):
        student.take_steps(count)  # a number that LeRobot's inference of it cannot be asked for is refused
    train_groups(student, trained)
    if rule.inert and student.padding == "free":
        if not isinstance(student, PaddingInputs):
            raise UserError(
                f"padding.inert=true, but a policy of type {student.config.type} has no one layer that reads the "
                "padding; choose another fix (+fix=full32)"
            )
        student.silence_padding()
    if lora is not None:
        return with_lora(student, teacher, lora, lora_alpha, trained).train()
    share_frozen(teacher, student)
    return student.train()
