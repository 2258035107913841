"""Teacher and student in one memory: what is frozen and identical exists once."""

from __future__ import annotations

import torch

from reflow.policies.base import FlowPolicy


def share_frozen(teacher: FlowPolicy, student: FlowPolicy) -> int:
    """Lets the student use the teacher's own tensors wherever a frozen parameter is identical.

    The parameters are shared, the modules are not: the student may be put in training mode without the
    teacher following it.

    Returns:
        Bytes that now exist once instead of twice.
    """
    theirs = dict(teacher.named_parameters())
    saved = 0
    for name, parameter in list(student.named_parameters()):
        twin = theirs.get(name)
        if twin is None or parameter.requires_grad or not torch.equal(twin, parameter):
            continue
        module_name, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(module_name), leaf, twin)
        saved += parameter.numel() * parameter.element_size()
    return saved


def shares_prefix(teacher: FlowPolicy, student: FlowPolicy) -> bool:
    """Whether one encoding serves both: every parameter that ``encode`` reads is the same tensor."""
    theirs = dict(teacher.prefix_parameters())
    return all(theirs.get(name) is parameter for name, parameter in student.prefix_parameters())
