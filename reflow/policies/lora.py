"""Low-rank additions in the place of whole weights (Hu et al. 2021, "LoRA", arXiv:2106.09685), by PEFT.

What is not trained needs no gradient, no moments of Adam and no average, and is the teacher's own tensor. Before
delivery the additions are merged: the student is an ordinary policy.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection
from typing import Any

from torch import nn

from reflow.errors import NotInstalledError, UserError
from reflow.policies.base import FlowPolicy
from reflow.policies.capabilities import VELOCITY, PaddingInputs
from reflow.policies.groups import parameter_groups, share_frozen, train_groups

SAVING = 2
"""A layer gets an addition where that has at most one in so many of its weights; else it is trained whole."""


def low_rank_layers(flow: FlowPolicy, groups: Collection[str], rank: int) -> dict[str, nn.Linear]:
    """Linear layers of these parameter groups that an addition of this rank makes smaller, by their names in LeRobot.

    Layers that read noisy actions are not among them: their columns for the padding may be held at zero.

    Args:
        flow: the policy.
        groups: of its parameters, :func:`reflow.policies.parameter_groups`.
        rank: of the additions.
    """
    every = parameter_groups(flow)
    inside = {id(parameter) for group in groups for parameter in every[group].values()}
    if isinstance(flow, PaddingInputs):
        inside -= {id(weight) for weight in flow.action_inputs()}
    return {
        name: layer
        for name, layer in flow.policy.named_modules()
        # Exactly that class: torch's own attention reads the weights of its layers past their forward.
        if type(layer) is nn.Linear
        and id(layer.weight) in inside
        and SAVING * rank * (layer.in_features + layer.out_features) <= layer.weight.numel()
    }


def with_lora(
    flow: FlowPolicy,
    teacher: FlowPolicy,
    rank: int,
    alpha: float | None = None,
    groups: Collection[str] = (VELOCITY,),
) -> FlowPolicy:
    """The same policy, its large layers frozen and shared with the teacher, with additions that are trained.

    Small layers, norms and biases of the groups are trained whole; word embeddings stay frozen.

    Args:
        flow: the student; its groups are chosen here.
        teacher: whose tensors it takes where they are equal and not trained.
        rank: of the additions.
        alpha: their scale is ``alpha / rank``; None for twice the rank.
        groups: of parameters.

    Raises:
        NotInstalledError: peft is missing.
        UserError: a rank below 1, or one that no layer of these groups is large enough for.
    """
    if importlib.util.find_spec("peft") is None:
        raise NotInstalledError(
            f"student.lora={rank} needs the package peft, which is not installed: pip install 'reflow[peft]'"
        )
    if rank < 1:
        raise UserError(f"student.lora={rank}; allowed: 1 or more, or null to train whole weights")
    train_groups(flow, groups)
    layers = low_rank_layers(flow, groups, rank)
    if not layers:
        raise UserError(
            f"student.lora={rank}: no layer of the parameter groups {', '.join(groups)} is so large that an addition "
            "of this rank would be smaller; choose a lower rank, or null to train whole weights"
        )
    for module in flow.policy.modules():
        if isinstance(module, nn.Embedding):
            module.requires_grad_(False)
    for layer in layers.values():
        layer.weight.requires_grad_(False)
    share_frozen(teacher, flow)
    trained = {id(parameter) for parameter in flow.parameters() if parameter.requires_grad}
    _inject(flow.policy, list(layers), rank, 2.0 * rank if alpha is None else alpha)
    for parameter in flow.parameters():
        if id(parameter) in trained:
            parameter.requires_grad_(True)
    return type(flow)(flow.policy)  # an adapter may remember names, and these are others now


def merge_lora(flow: FlowPolicy) -> None:
    """Adds the additions to the weights they stand beside; a policy without any stays as it is.

    The sums are new tensors: what they are made of may be a teacher's.
    """
    for name, layer in list(flow.policy.named_modules()):
        if hasattr(layer, "get_delta_weight") and hasattr(layer, "get_base_layer"):
            base = layer.get_base_layer()
            (adapter,) = layer.active_adapters
            base.weight = nn.Parameter(base.weight.detach() + layer.get_delta_weight(adapter).detach())
            owner, _, leaf = name.rpartition(".")
            setattr(flow.policy.get_submodule(owner), leaf, base)


def _inject(policy: Any, names: list[str], rank: int, alpha: float) -> None:
    from peft import LoraConfig, inject_adapter_in_model  # an extra: reflow[peft]

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # said to be an int, and only divided by the rank
        target_modules=names,
        bias="none",
    )
    inject_adapter_in_model(config, policy)
