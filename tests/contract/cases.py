"""Every policy that the contract suite asks: one line each, a builder of a small instance of LeRobot's real class."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from reflow.policies import FlowPolicy

Alone = Callable[[FlowPolicy, dict[str, Any]], object]
TIMES = torch.tensor([0.9, 0.3, 0.55])
"""At which LeRobot's training is asked, one for each observation."""
Weight = Callable[[Tensor], Tensor]
Reduce = Callable[[FlowPolicy, Tensor], Tensor]


def over_real(flow: FlowPolicy, errors: Tensor) -> Tensor:
    """Mean over real dimensions."""
    return flow.space.real(errors).mean()


def evenly(t: Tensor) -> Tensor:
    """Every time counts alike."""
    return torch.ones_like(t)


def over_all(flow: FlowPolicy, errors: Tensor) -> Tensor:
    """Mean over all native dimensions."""
    return errors.mean()


def chunk_alone(flow: FlowPolicy, batch: dict[str, Any]) -> object:
    """LeRobot's own chunk, from noise that it draws itself."""
    return flow.policy.predict_action_chunk(batch)


@dataclass(frozen=True)
class Case:
    """What a builder says about its policy, beside the policy.

    Attributes:
        make: a small untrained instance in eval mode, behind its adapter, its weights wide enough that image, words,
            state, noise and time all move the velocity; given a folder for what it needs beside its weights, and
            fields of LeRobot's configuration that differ. For the data of :func:`tests.builders.make_dataset`: 14
            values of state, one camera, 14 of action.
        padding: what its padding is.
        noise: the distribution that LeRobot's inference starts from.
        reduce: squared velocity errors ``[b, h, d]`` to the loss that LeRobot trains with, no step being padded.
        weight: times ``[b]`` to what LeRobot's loss multiplies a squared velocity error by; it is a power of the time
            where the loss is of actions.
        untrained: parts of names of parameters that ``velocity`` reads but that get no gradient, with LeRobot either.
        invariant: parts of names of parameters that change nothing, as a bias of keys, which moves every score alike
            and so no softmax: their gradient is rounding, small beside the others.
        environment: variables that a process of its own needs to load it, from its folder.
        steps: step counts at which ours and LeRobot's times are the same numbers, so that the ends are the same bits.
        alone: lets LeRobot act on a batch, with noise that it draws itself; another way than ``predict_action_chunk``
            for a policy that plans from what it remembers.
        precisely: a context in which the prefix is computed in the precision of its weights, for a policy that
            LeRobot always runs in less; its rounding then has a bound that says something.
    """

    make: Callable[..., FlowPolicy]
    padding: Literal["free", "masked", "none"]
    noise: Literal["normal", "uniform"] = "normal"
    reduce: Reduce = over_real
    weight: Weight = evenly
    untrained: tuple[str, ...] = ()
    invariant: tuple[str, ...] = ()
    environment: Callable[[Path], dict[str, str]] = lambda folder: {}
    steps: tuple[int, ...] = (1, 2, 4, 8)
    alone: Alone = chunk_alone
    precisely: Callable[[], AbstractContextManager[object]] = nullcontext

    def is_invariant(self, name: str) -> bool:
        """Whether a parameter of this name changes nothing."""
        return any(part in name for part in self.invariant)


_BUILDERS = {
    "pi0": "pi",
    "pi05": "pi",
    "groot": "groot",
    "smolvla": "smolvla",
    "eo1": "eo1",
    "evo1": "evo1",
    "xvla": "xvla",
    "multi_task_dit": "multi_task_dit",
    "vla_jepa": "vla_jepa",
}
POLICIES = tuple(_BUILDERS)


def case_of(policy_type: str) -> Case:
    """The case of a policy type; its builder is imported now."""
    return importlib.import_module(f"tests.contract.builders.{_BUILDERS[policy_type]}").CASES[policy_type]
