"""How far each adapter is from LeRobot here, in figures: ``python -m tests.contract.figures``.

The suite holds them against bounds from arithmetic; this prints what a machine gives, relative to the largest value.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor

import tests.contract.builders.small_pi  # noqa: F401  (pi is small in this process, whoever comes first)
from reflow.policies import FlowPolicy, train_groups
from tests.builders import make_dataset
from tests.contract.cases import POLICIES, TIMES
from tests.contract.conftest import Subject, subject_of
from tests.contract.test_contract import aim, cloned, stock_forward


def apart(one: Tensor, other: Tensor) -> float:
    """Largest difference, relative to the largest value."""
    return ((one - other).abs().max() / other.abs().max()).item()


def figures_of(subject: Subject) -> tuple[float, ...]:
    """Velocity, loss, gradient of the worst tensor, and endpoints after 1, 3 and 10 steps."""
    flow = subject.load()
    train_groups(flow)
    forward = stock_forward(subject, flow)
    expected = gradients(flow, forward.loss)
    velocity = flow.velocity(flow.encode(subject.observed), forward.x_t.detach()[:, None], TIMES[:, None])[
        :, 0
    ]
    error = velocity - subject.noise(flow)[:, 0] + aim(subject, flow)
    loss = subject.case.reduce(flow, subject.case.weight(TIMES)[:, None, None] * error.square())
    ours = gradients(flow, loss)
    worst = max(
        ((ours[name] - value).norm() / value.norm()).item()
        for name, value in expected.items()
        if value.any() and not subject.case.is_invariant(name)
    )
    ends = []
    with torch.no_grad():
        for flow.num_steps in (1, 3, 10):
            end = flow.walk(flow.encode(subject.observed), subject.noise(flow))[:, 0]
            ends.append(apart(end, flow.stock_endpoint(cloned(subject.observed), subject.noise(flow)[:, 0])))
    return (
        apart(velocity.detach(), forward.v_t.detach()),
        apart(loss.detach(), forward.loss.detach()),
        worst,
        *ends,
    )


def gradients(flow: FlowPolicy, loss: Tensor) -> dict[str, Tensor]:
    """Of every parameter that is trained."""
    flow.zero_grad()
    loss.backward()
    return {
        name: p.grad.clone() for name, p in flow.named_parameters() if p.requires_grad and p.grad is not None
    }


def main() -> None:
    """Prints a table in Markdown."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    print(
        "| Policy | velocity | loss | gradient | endpoint, 1 step | 3 | 10 |\n|---|---|---|---|---|---|---|"
    )
    with tempfile.TemporaryDirectory() as scratch:
        data = make_dataset(Path(scratch, "set"), frames=14)
        for name in sys.argv[1:] or POLICIES:
            with contextlib.redirect_stdout(io.StringIO()):
                found = figures_of(subject_of(name, data, Path(scratch, name)))
            print(f"| `{name}` |", " | ".join("0" if value == 0 else f"{value:.1g}" for value in found), "|")


if __name__ == "__main__":
    main()
