"""How a chunk follows the one before it, while a policy thinks: LeRobot's guidance, or the actions given.

``guided``: real-time chunking as ``lerobot-rollout --inference.type=rtc`` asks for it, at the weight that fits the
number of steps (:mod:`reflow.policies.rtc`). ``trained``: training-time real-time chunking, for a student that learnt
to be given actions (``reflow.objectives.given``). Both run LeRobot's own ``predict_action_chunk``. Left out: when a
robot asks, and what it plays meanwhile (``reflow.simulator.delay``).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from lerobot.policies.rtc import RTCConfig
from lerobot.utils.constants import OBS_STATE
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import give
from reflow.policies.base import Batch, FlowPolicy
from reflow.policies.rtc import is_guided

GUIDED, TRAINED = "guided", "trained"
WAYS = (GUIDED, TRAINED)


def check_way(flow: FlowPolicy, way: str | None) -> None:
    """Asks whether chunks of a policy can follow one another so.

    Raises:
        UserError: they cannot.
    """
    if way == GUIDED and not is_guided(flow.config):
        raise UserError(
            f"rtc={GUIDED}: LeRobot has no real-time chunking by guidance for a policy of type {flow.config.type}; "
            "leave it out"
        )
    if way == TRAINED and flow.padding != "free":
        raise UserError(
            f"rtc={TRAINED}: given actions are told from noise by their padding, which a policy of type "
            f"{flow.config.type} has not, or holds at zero; leave it out"
        )


def next_chunk(
    flow: FlowPolicy,
    batch: Batch,
    noise: Float[Tensor, "b h d"],
    left: Float[Tensor, "b n o"],
    delay: int,
    way: str | None,
) -> Float[Tensor, "b h o"]:
    """The chunk that LeRobot's own ``predict_action_chunk`` gives, after what is left of the one before.

    Args:
        flow: the policy.
        batch: as for :meth:`FlowPolicy.encode`. It is not changed.
        noise: at native width.
        left: actions of the chunk before that were not played yet, as it gave them; none at first.
        delay: how many of them are played before the new chunk is there.
        way: ``guided``, ``trained``, or None: the new chunk knows nothing of the one before.
    """
    if way is None or not left.shape[-2]:
        return flow.stock_chunk(batch, noise)
    if way == TRAINED:
        return flow.stock_chunk(batch, given_noise(flow, noise, left, delay))
    # Of what it is given LeRobot writes into the state alone, where it converts it for ALOHA.
    copies = {key: value.clone() if key == OBS_STATE else value for key, value in batch.items()}
    with _guidance(flow, delay) as horizon:
        ahead = F.pad(left[:, :horizon], (0, 0, 0, max(0, horizon - left.shape[1])))  # as the runtime does
        return flow.policy.predict_action_chunk(
            copies, noise=noise.clone(), inference_delay=delay, prev_chunk_left_over=ahead
        )


def given_noise(
    flow: FlowPolicy, noise: Float[Tensor, "b h d"], left: Float[Tensor, "b n o"], delay: int
) -> Float[Tensor, "b h d"]:
    """Noise whose first time steps are the actions that are played while the policy thinks.

    Args:
        flow: the policy.
        noise: at native width.
        left: actions of the chunk before that were not played yet, as ``predict_action_chunk`` gave them.
        delay: how many of them are given; of fewer that are left, all.
    """
    known, chunk = flow.target(left), noise.shape[-2]
    known = F.pad(known, (0, 0, 0, max(0, chunk - known.shape[-2])))[..., :chunk, :].to(noise)
    count = torch.full(noise.shape[:-2], min(delay, left.shape[-2]), device=noise.device)
    return give(noise, known, count, flow.space)


@contextmanager
def _guidance(flow: FlowPolicy, delay: int) -> Iterator[int]:
    """LeRobot's guidance switched on, at the weight and horizon that fit; gives the actions that it looks at."""
    policy, before, usual = flow.policy, flow.config.rtc_config, RTCConfig()
    asked = replace(
        usual,
        max_guidance_weight=min(flow.num_steps, usual.max_guidance_weight),
        # What lies beyond is left alone, and what will be played lies beyond the delay.
        execution_horizon=min(max(2 * delay, usual.execution_horizon), flow.space.chunk_size),
    )
    try:
        policy.config.rtc_config = asked
        policy.init_rtc_processor()
        yield asked.execution_horizon
    finally:
        policy.config.rtc_config = before
        policy.init_rtc_processor()
