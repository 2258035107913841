"""The held-out observations that every check looks at: encoded once, with noise and the teacher's endpoint.

Left out: the data themselves (``reflow.data``); a batch needs ``sample`` for the identity of its noise, no more.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.flow import ActionSpace, Draws
from reflow.policies import Batch, FlowPolicy

FIRST_DRAW = 2**40
"""Draw identities of held-out noise start here, as in a training run: no noise of training is met."""
REDRAWN = 2 * FIRST_DRAW
"""And here those of the second noise that the first is compared with."""


@dataclass(frozen=True)
class Observed:
    """One held-out batch, and what the teacher does with it as deployed.

    Attributes:
        batch: preprocessed, on the policy's device, without identities.
        context: encoded by the teacher.
        noise: as stock inference draws it, at native width.
        redrawn: another such noise for the same observations.
        endpoint: where the teacher's own steps (Euler) carry ``noise``.
    """

    batch: Batch
    context: Any
    noise: Float[Tensor, "b k h d"]
    redrawn: Float[Tensor, "b k h d"]
    endpoint: Float[Tensor, "b k h d"]


@torch.no_grad()
def observe(
    teacher: FlowPolicy, batches: Iterable[Batch], *, draws: int = 4, seed: int = 0
) -> tuple[Observed, ...]:
    """Encodes held-out batches and walks the teacher from ``draws`` noises each.

    Args:
        teacher: in eval mode.
        batches: preprocessed, with ``sample``.
        draws: noises per observation, 1 or more.
        seed: of the noise.

    Raises:
        ValueError: there is no batch, or no draw.
    """
    if draws < 1:
        raise ValueError(f"draws is {draws}; allowed: 1 or more noises per observation")
    device = next(teacher.parameters()).device
    space, random = teacher.space, Draws(seed)
    found = []
    for batch in batches:
        sample = batch[SAMPLE].cpu()
        which = torch.arange(draws).expand(len(sample), draws)
        shape = (space.chunk_size, space.max_action_dim)
        noise, redrawn = (
            random.noise(sample, first + which, shape).to(device) for first in (FIRST_DRAW, REDRAWN)
        )
        own = {key: value for key, value in batch.items() if key not in (SAMPLE, VISIT)}
        context = teacher.encode(own)
        found.append(Observed(own, context, noise, redrawn, teacher.walk(context, noise)))
    if not found:
        raise ValueError(
            "there is no held-out observation; choose held-out episodes (data.val_episodes=[...])"
        )
    return tuple(found)


def swap_padding(
    space: ActionSpace, real_from: Float[Tensor, "*b d"], padding_from: Float[Tensor, "*b d"]
) -> Float[Tensor, "*b d"]:
    """The real dimensions of the one and the padding of the other."""
    return torch.cat([space.real(real_from), space.padding(padding_from)], dim=-1)
