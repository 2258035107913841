"""How far each way to run a policy ends from the policy itself, from the same noise: parity, the error of int8."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from reflow.bundle.observations import Tried
from reflow.bundle.ways import Way
from reflow.errors import UserError
from reflow.flow import Draws
from reflow.metrics.relative import relative_difference
from reflow.policies import FlowPolicy
from reflow.policies.rounding import apart, of_policy


@dataclass(frozen=True)
class EndpointDifference:
    """Of one way to run a policy, over observations and noises.

    Attributes:
        mean, largest: of ``||endpoint - the policy's|| / ||the policy's||`` of a chunk, on real dimensions.
        apart: largest difference of a value, relative to the largest of its chunk.
        bound: of that, by rounding alone; from arithmetic.
        chunks: measured.
    """

    mean: float
    largest: float
    apart: float
    bound: float
    chunks: int


def endpoint_differences(
    flow: FlowPolicy, preprocess: Any, ways: Sequence[Way], tried: Tried, *, noises: int, seed: int
) -> dict[str, EndpointDifference]:
    """Integrates from the same noises in every way.

    Args:
        flow: the policy itself, on the CPU.
        preprocess: its preprocessor, as it is deployed.
        ways: by which it is run, too.
        tried: the observations.
        noises: for each.
        seed: of the noise.
    """
    pairs: dict[str, list[tuple[float, float]]] = {way.name: [] for way in ways}
    draws = Draws(seed)
    with torch.inference_mode():
        for number, one in enumerate(tried.raw):
            context = flow.encode(preprocess(dict(one)))
            seen = {way.name: way.encode(way.preprocess(dict(one))) for way in ways}
            for draw in range(noises):
                noise = flow.noise(draws, torch.tensor([number]), torch.tensor([[draw]]))
                end = flow.walk(context, noise)
                for way in ways:
                    found = way.walk(seen[way.name], noise.to(way.device)).cpu()
                    relative = relative_difference(found, end, flow.space).item()
                    pairs[way.name].append((relative, apart(found, end)))
    bound = flow.num_steps * of_policy(flow, whole=True)
    return {name: _difference(found, bound) for name, found in pairs.items()}


def check_parity(found: Mapping[str, EndpointDifference], exact: Sequence[str]) -> None:
    """Refuses a way that is off by more than rounding, and one whose ends are no numbers.

    Args:
        found: by way.
        exact: ways that compute the same in another order.

    Raises:
        UserError: names it.
    """
    for name, difference in found.items():
        limit = difference.bound if name in exact else float("inf")
        if not difference.apart <= limit:
            raise UserError(
                f"{name}: its chunks are off by up to {difference.apart:.3g} of their largest value, and "
                f"{difference.bound:.3g} could be rounding. Euler steps through its velocity are not what LeRobot's "
                "inference of this policy does, or the graph is not what the policy is; leave onnx=true out"
            )


def _difference(pairs: Sequence[tuple[float, float]], bound: float) -> EndpointDifference:
    relative, far = zip(*pairs, strict=True)
    return EndpointDifference(
        sum(relative) / len(relative), _largest(relative), _largest(far), bound, len(pairs)
    )


def _largest(values: Sequence[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).max().item()  # nan where one is
