"""Is the adapter exact on this very checkpoint? Its two halves against LeRobot's own training and inference.

The tests hold this for small policies with random weights; a real checkpoint may have other options, another dtype or
another device. Left out: gradients, which the tests compare.
"""

from __future__ import annotations

import torch
from lerobot.utils.constants import ACTION

from reflow.doctor.finding import Check, Finding
from reflow.policies import FlowPolicy, StockCheck
from reflow.probes import Observed

TOLERANCE = 1e-4
"""Of the largest value; float32 rounding in another order stays far below, a mistake far above."""
OBSERVATIONS = 8


@torch.no_grad()
def exactness_check(teacher: FlowPolicy, one: Observed) -> Check:
    """Compares velocities and endpoints, with the same noise, on a few observations.

    Args:
        teacher: in eval mode.
        one: held-out observations; the first few are taken.
    """
    if not isinstance(teacher, StockCheck):
        what = f"A policy of type {teacher.config.type} cannot be compared with LeRobot's own training."
        return Check("exactness", {}, (Finding("exactness", "ok", what),))
    size = min(OBSERVATIONS, len(one.sample))
    batch = teacher.rows(one.batch, len(one.sample), size)
    context, noise = teacher.encode(batch), one.randn[:size, 0]
    t = torch.linspace(0.95, 0.1, size, device=noise.device)  # some train at no time nearer to the noise
    stocks = teacher.stock_forward({**batch, ACTION: teacher.actions(one.endpoint[:size, 0])}, noise, t)
    expected = stocks.v_t
    velocity = teacher.velocity(context, stocks.x_t[:, None], t[:, None])[:, 0]
    stock = teacher.stock_endpoint(batch, noise)
    endpoint = teacher.walk(context, noise[:, None])[:, 0]
    figures = {
        "velocity_difference": (velocity - expected).abs().max().item(),
        "velocity_max": expected.abs().max().item(),
        "endpoint_difference": (endpoint - stock).abs().max().item(),
        "endpoint_max": stock.abs().max().item(),
    }
    return Check("exactness", figures, (exactness_finding(figures),))


def exactness_finding(figures: dict[str, float]) -> Finding:
    """Exact, equal but for rounding, or another policy than LeRobot's."""
    velocity, endpoint = figures["velocity_difference"], figures["endpoint_difference"]
    what = (
        f"The adapter's velocity differs from LeRobot's training forward by at most {velocity:.2g} (largest value "
        f"{figures['velocity_max']:.2g}), its endpoint from LeRobot's inference by {endpoint:.2g} "
        f"({figures['endpoint_max']:.2g})."
    )
    good = velocity <= TOLERANCE * figures["velocity_max"] and endpoint <= TOLERANCE * figures["endpoint_max"]
    if good:  # and not `not bad`: nan is no equality
        return Finding("exactness", "ok", what)
    return Finding(
        "exactness",
        "error",
        what,
        f"Above {TOLERANCE:g} of the largest value: what is trained is not what LeRobot will run.",
        "run once more with device=cpu; if it stays, report it with the checkpoint's config.json",
    )
