"""GR00T N1.7 beside LeRobot's own, on batches made without its processors."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F

pytest.importorskip("diffusers")

from transformers import AutoProcessor

from reflow.policies import FlowPolicy, train_groups
from tests.contract.builders.groot import make
from tests.contract.cases import TIMES
from tests.rounding import apart, of_policy

Made = tuple[FlowPolicy, dict[str, Any], torch.Tensor]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    scratch = tmp_path_factory.mktemp("groot")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = make(scratch)
    generator = torch.Generator().manual_seed(1)
    words = ("pick up the cube", "put it down", "put it over there, slowly")
    seen = [(torch.rand(3, 64, 64, generator=generator) * 255).to(torch.uint8) for _ in words]
    said = [
        [{"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": text}]}]
        for image, text in zip(seen, words, strict=True)
    ]
    batch = AutoProcessor.from_pretrained(scratch / "qwen").apply_chat_template(
        said, tokenize=True, return_dict=True, return_tensors="pt", processor_kwargs={"padding": True}
    )
    state = F.pad(torch.randn(3, 1, 14, generator=generator), (0, 6))
    more = {"state": state, "embodiment_id": torch.tensor([1, 3, 0])}
    return flow, {**batch, **more}, torch.randn(3, 8, 20, generator=generator)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 2, 4, 8, 10])
def test_walk_and_chunk_are_lerobot_s(made: Made, num_steps: int) -> None:
    flow, batch, noise = made
    flow.num_steps = num_steps
    end = flow.walk(flow.encode(batch), noise[:, None])[:, 0]
    assert torch.equal(end, flow.stock_endpoint(batch, noise))
    assert torch.equal(flow.output(end), flow.stock_chunk(batch, noise))


def test_velocity_loss_and_gradient_are_lerobot_s(made: Made) -> None:
    flow, batch, noise = made
    action = F.pad(noise.flip(0)[..., :14], (0, 6))
    mask = F.pad(torch.ones(3, 8, 14), (0, 6))
    train_groups(flow)
    flow.zero_grad()
    forward = flow.stock_forward({**batch, "action": action, "action_mask": mask}, noise, TIMES)
    forward.loss.backward()
    trained = [parameter for parameter in flow.parameters() if parameter.requires_grad]
    theirs = torch.cat([parameter.grad.flatten().clone() for parameter in trained])
    flow.zero_grad()
    velocity = flow.velocity(flow.encode(batch), forward.x_t.detach()[:, None], TIMES[:, None])[:, 0]
    loss = flow.space.real((velocity - noise + action).square()).mean()
    loss.backward()
    ours = torch.cat([parameter.grad.flatten() for parameter in trained])
    assert apart(velocity.detach(), forward.v_t.detach()) < of_policy(flow)
    assert apart(loss.detach(), forward.loss.detach()) < of_policy(flow)
    assert (ours - theirs).norm() / theirs.norm() < 3 * of_policy(flow)


@torch.no_grad()
def test_a_part_of_a_batch_is_a_batch(made: Made) -> None:
    flow, batch, noise = made
    alone = flow.walk(flow.encode(flow.rows(batch, 3, 2)), noise[:2, None], 1)
    whole = flow.walk(flow.encode(batch), noise[:, None], 1)[:2]
    assert apart(alone, whole) < of_policy(flow, whole=True)
