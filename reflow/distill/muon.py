"""Muon for the matrices inside a network, AdamW for the rest: two of torch's optimizers in the shape of one.

Muon (Jordan et al. 2024, "Muon: An optimizer for hidden layers in neural networks") makes each update orthogonal: a
matrix moves in all its directions alike. Embeddings, vectors and the layers at actions and states stay AdamW's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from lerobot.configs import PreTrainedConfig
from torch import Tensor, nn
from torch.optim import Optimizer

from reflow.errors import UserError

NARROW = 32
"""A matrix with a side of at most so many is at the network's edge, or a low-rank factor."""


def is_hidden(name: str, parameter: Tensor, policy: PreTrainedConfig) -> bool:
    """Whether Muon is meant for a parameter: a matrix, no embedding, and neither side an action's or a state's width.

    Args:
        name: its name in the network; embeddings and language heads are known by it, as in transformers.
        parameter: of any shape.
        policy: whose ``max_action_dim``, where it has one, tells how wide an edge may be.
    """
    edge = max(NARROW, getattr(policy, "max_action_dim", 0))
    inside = parameter.ndim == 2 and min(parameter.shape) > edge
    return inside and not any(part in name for part in ("embed", "lm_head"))


class MuonWithAdamW(Optimizer):
    """Both at once: schedulers, clipping and checkpoints see the groups of either.

    Args:
        matrices: those of Muon.
        lr: Muon's learning rate, in AdamW's measure: updates are scaled to the size that AdamW's have
            (``match_rms_adamw``; Liu et al. 2025, arXiv 2502.16982).
        weight_decay: decoupled, Muon's.
        adamw: built, over all the other parameters.

    Raises:
        UserError: This torch has no Muon.
    """

    def __init__(self, matrices: list[Tensor], lr: float, weight_decay: float, adamw: Optimizer) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise UserError(
                f"optimizer.muon_lr is {lr}, and torch {torch.__version__} has no Muon; allowed: torch 2.9 or "
                "newer, or null for AdamW alone"
            )
        muon = torch.optim.Muon(matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")
        self.both: tuple[Optimizer, Optimizer] = (muon, adamw)
        super().__init__([dict(group) for optimizer in self.both for group in optimizer.param_groups], {})
        self._link()

    def _link(self) -> None:
        """The groups are those of the two, not copies: what a scheduler sets is what they read."""
        self.param_groups = [group for optimizer in self.both for group in optimizer.param_groups]

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of all parameters; the closure's loss, if there is one."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for optimizer in self.both:
            optimizer.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """That of Muon and that of AdamW, apart."""
        muon, adamw = (optimizer.state_dict() for optimizer in self.both)
        return {"muon": muon, "adamw": adamw}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for optimizer, name in zip(self.both, ("muon", "adamw"), strict=True):
            optimizer.load_state_dict(state_dict[name])
        self._link()


def with_muon(
    lr: float, policy: PreTrainedConfig, parameters: Mapping[str, nn.Parameter], adamw: Optimizer
) -> MuonWithAdamW:
    """Takes the hidden matrices from AdamW and gives them to Muon.

    Args:
        lr: Muon's.
        policy: tells how wide actions are.
        parameters: the trainable ones by name, all of them AdamW's.
        adamw: built, not stepped yet; loses what Muon takes.

    Raises:
        UserError: there are no hidden matrices, or nothing else.
    """
    hidden = {id(p) for name, p in parameters.items() if is_hidden(name, p, policy)}
    if not hidden or len(hidden) == len(parameters):
        raise UserError(
            f"optimizer.muon_lr is {lr}, and {len(hidden)} of the {len(parameters)} trained parameters are "
            "hidden matrices; allowed: some of either kind, or null for AdamW alone"
        )
    for group in adamw.param_groups:
        group["params"] = [p for p in group["params"] if id(p) not in hidden]
    matrices: list[Tensor] = [p for p in parameters.values() if id(p) in hidden]
    return MuonWithAdamW(matrices, lr, adamw.param_groups[0]["weight_decay"], adamw)
