"""Teacher and student in one memory: what is frozen and identical exists once."""

from __future__ import annotations

import torch

from reflow.policies.base import FlowPolicy


def share_frozen(teacher: FlowPolicy, student: FlowPolicy) -> int:
    """Lets the student use the teacher's own tensors wherever a frozen parameter is identical.

    The parameters are shared, the modules are not: the student may be put in training mode without the
    teacher following it. What is shared is frozen for both.

    Returns:
        Bytes that now exist once instead of twice.
    """
    # With every name of a tied parameter, or one name would be shared and the tie broken.
    theirs = dict(teacher.named_parameters(remove_duplicate=False))
    saved: dict[int, int] = {}
    for name, parameter in list(student.named_parameters(remove_duplicate=False)):
        twin = theirs.get(name)
        if twin is None or twin is parameter or parameter.requires_grad or not torch.equal(twin, parameter):
            continue
        module_name, _, leaf = name.rpartition(".")
        setattr(student.get_submodule(module_name), leaf, twin.requires_grad_(False))
        saved[id(twin)] = parameter.numel() * parameter.element_size()
    return sum(saved.values())


def shares_prefix(teacher: FlowPolicy, student: FlowPolicy) -> bool:
    """Whether one encoding serves both: every parameter that ``encode`` reads is the same tensor."""
    theirs = dict(teacher.prefix_parameters())
    return all(theirs.get(name) is parameter for name, parameter in student.prefix_parameters())
