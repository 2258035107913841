"""What is EVO-1's alone: where its step count is kept, its buckets, its mask, and its pooled token."""

from __future__ import annotations

import pytest
import torch

from reflow.flow import Draws
from reflow.policies.evo1 import BUCKETS, Evo1Flow
from tests.builders import TASKS, TOP, quiet
from tests.contract.builders.evo1 import make


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory):
    def fresh(**config) -> Evo1Flow:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(0)
            return make(tmp_path_factory.mktemp("evo1"), **config)

    return fresh


def batch_of(size: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)
    return {
        "observation.state": torch.randn(size, 14, generator=generator),
        TOP: torch.rand(size, 3, 24, 32, generator=generator),
        "task": [TASKS[row % 2] for row in range(size)],
    }


def test_the_step_count_is_set_where_inference_reads_it(build):
    flow = build()
    flow.num_steps = 3
    assert flow.policy.config.num_inference_timesteps == 3
    assert flow.policy.model.action_head.num_inference_timesteps == 3


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [3, 5, 7, 9, 10, 27, 32, 37, 100, 1000])
def test_a_time_turned_round_falls_into_lerobot_s_bucket(build, num_steps):
    """LeRobot counts i / n up from the noise; here a solver counts 1 - i / n down in float32.

    Not at 333 and 999 steps, where LeRobot itself rounds 62.99999999999999 down.
    """
    flow, asked = build(), list[int]()
    head = flow.policy.model.action_head
    table = head.time_pos_enc(BUCKETS)[0]
    head.transformer_blocks[0].register_forward_pre_hook(
        lambda _, inputs: asked.append(int((table == inputs[2][0]).all(1).nonzero()[0]))
    )
    flow.walk(flow.encode(batch_of(1)), torch.zeros(1, 1, 8, 24), num_steps)
    assert asked == [min(int(step / num_steps * (BUCKETS - 1)), BUCKETS - 1) for step in range(num_steps)]


@torch.no_grad()
def test_padding_is_masked_whatever_comes_in(build):
    flow = build()
    assert flow.padding == "masked"
    context, t = flow.encode(batch_of()), torch.full((2, 1), 0.5)
    noise = flow.noise(Draws(0), torch.arange(2), torch.zeros(2, 1, dtype=torch.long))
    loud = noise.clone()
    loud[..., 14:] = 7.0
    assert torch.equal(flow.velocity(context, loud, t), flow.velocity(context, noise, t))
    assert not flow.velocity(context, loud, t)[..., 14:].any()


@torch.no_grad()
def test_noise_is_what_rand_can_give(build):
    """Of the numbers that torch's uniform generator makes in float32, so that LeRobot's own arithmetic keeps them."""
    noise = build().noise(Draws(3), torch.arange(2), torch.arange(64).expand(2, -1))
    assert torch.equal((noise + 1) / 2 * 2 - 1, noise)
    assert noise[..., :14].unique().numel() > 1000


@torch.no_grad()
def test_a_pooled_token_needs_no_mask(build):
    flow = build(return_cls_only=True)
    context = flow.encode(batch_of())
    assert context.tokens.shape[1] == 2  # the pooled one, and the state's
    assert context.ignored is None
    again = flow.unpack(flow.pack(context))
    assert again.ignored is None
    assert torch.equal(again.tokens, context.tokens)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 2, 8, 32])
def test_mixed_precision_is_lerobot_s(build, num_steps, monkeypatch):
    """``use_amp``, LeRobot's default, is in force on a GPU alone: here its own block is opened on the processor."""
    flow, batch = build(vlm_dtype="bfloat16", num_inference_timesteps=num_steps), batch_of()
    assert flow.config.use_amp
    noise = flow.noise(Draws(0), torch.arange(2), torch.zeros(2, 1, dtype=torch.long))
    plain = flow.walk(flow.encode(batch), noise)
    assert torch.equal(plain[:, 0], flow.stock_chunk(batch, noise[:, 0]))
    monkeypatch.setattr(flow.policy, "_maybe_autocast", lambda: torch.autocast("cpu", torch.bfloat16))
    mixed = flow.walk(flow.encode(batch), noise)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, plain)
    assert torch.equal(mixed[:, 0], flow.stock_chunk(batch, noise[:, 0]))
    trained = [p for name, p in flow.named_parameters() if ".action_head." in name]
    assert {parameter.dtype for parameter in trained} == {torch.float32}  # masters of their own precision
