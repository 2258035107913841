"""Which of a policy's parameters are trained, by named groups; and what is frozen exists once in memory."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import nn

from reflow.errors import UserError
from reflow.policies.base import FlowPolicy
from reflow.policies.capabilities import VELOCITY, FreezablePrefix


def parameter_groups(flow: FlowPolicy) -> dict[str, dict[str, nn.Parameter]]:
    """Every parameter by name, in the groups that can be trained or frozen.

    Returns:
        ``velocity`` first: all but what ``encode`` alone reads; all there is, where the two cannot be told apart.
    """
    rest = dict(flow.named_parameters())
    prefix = flow.prefix_groups() if isinstance(flow, FreezablePrefix) else {}
    groups = {group: {name: rest.pop(name) for name in names} for group, names in prefix.items()}
    return {VELOCITY: rest, **groups}


def prefix_parameters(flow: FlowPolicy) -> dict[str, nn.Parameter]:
    """Named parameters that ``encode`` reads, and no more of them than can be told."""
    every = dict(flow.named_parameters())
    groups = flow.prefix_groups() if isinstance(flow, FreezablePrefix) else {}
    return {name: every[name] for names in groups.values() for name in names} or every


def train_groups(flow: FlowPolicy, groups: Collection[str] = (VELOCITY,)) -> None:
    """Opens these parameter groups and freezes the rest, whatever the policy's own flags say.

    Args:
        flow: the policy.
        groups: with one of the prefix among them, the student encodes for itself, with gradients.

    Raises:
        UserError: no group, or one that the policy does not have.
    """
    there = parameter_groups(flow)
    if unknown := [name for name in groups if name not in there]:
        raise UserError(
            f"student.trained holds {unknown[0]!r}; a policy of type {flow.config.type} has the parameter groups "
            f"{', '.join(there)}"
        )
    if not groups:
        raise UserError(f"student.trained is empty; allowed: one or more of {', '.join(there)}")
    for name, parameters in there.items():
        for parameter in parameters.values():
            parameter.requires_grad_(name in groups)


def encodes_with_gradient(flow: FlowPolicy) -> bool:
    """Whether any parameter of the prefix is trained."""
    return any(parameter.requires_grad for parameter in prefix_parameters(flow).values())


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
    theirs = prefix_parameters(teacher)
    return all(theirs.get(name) is parameter for name, parameter in prefix_parameters(student).items())
