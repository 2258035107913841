"""The teacher's training is LeRobot's own: the same loss for the same noise and time, and every noise met once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from reflow.data import SAMPLE, VISIT
from reflow.demo.flow_matching import FlowMatching
from reflow.flow import BetaTime, Draws
from reflow.policies import FlowPolicy, train_groups
from tests.builders import make_batch, make_policy, make_vlm_folder


@pytest.fixture(scope="module")
def vlm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_vlm_folder(tmp_path_factory.mktemp("vlm") / "smolvlm")


@pytest.fixture
def flow(vlm_folder: Path) -> FlowPolicy:
    return make_policy(vlm_folder)


def training(flow: FlowPolicy, **changes: Any) -> FlowMatching:
    values = {"draws": 1, "loss_dims": "real", "seed": 3, "lr": 1e-3}
    values |= {"warmup_steps": 4, "max_steps": 20, "weight_decay": 0.0}
    return FlowMatching(flow, **(values | changes))


def batch_of(flow: FlowPolicy, samples: list[int], visits: list[int]) -> dict[str, Any]:
    batch = make_batch(flow, len(samples), with_actions=True)
    return {**batch, SAMPLE: torch.tensor(samples), VISIT: torch.tensor(visits)}


def noise_and_time(module: FlowMatching, sample: Tensor, draw: Tensor) -> tuple[Tensor, Tensor]:
    """By identity, as the module should draw them."""
    space, random = module.policy.space, Draws(3)
    noise = random.noise(sample, draw, (space.chunk_size, space.max_action_dim))
    return noise, BetaTime()(random.uniform(sample, draw))


def gradients(flow: FlowPolicy, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    found = {name: p.grad.clone() for name, p in flow.named_parameters() if p.grad is not None}
    flow.zero_grad(set_to_none=True)
    return found


def test_loss_is_lerobot_s_own(flow):
    """Exactly; the gradient to 1e-6 of the largest, because the prefix is walked back in another order."""
    module = training(flow)
    batch = batch_of(flow, [7, 8, 12], [0, 2, 1])
    assert batch["action_is_pad"].any()
    noise, t = noise_and_time(module, batch[SAMPLE], batch[VISIT][:, None])
    stock, _ = flow.policy.forward(dict(batch), noise[:, 0], t[:, 0])
    loss = module.loss(batch)
    assert torch.equal(loss, stock)
    expected, got = gradients(flow, stock), gradients(flow, loss)
    assert got.keys() == expected.keys()
    assert any(".vision_model." in name for name in got)  # the eye is trained too
    largest = max(gradient.abs().max().item() for gradient in expected.values())
    for name, gradient in got.items():
        torch.testing.assert_close(gradient, expected[name], rtol=0, atol=1e-6 * largest, msg=name)


def test_several_draws_are_the_mean_of_each_alone(flow):
    module = training(flow, draws=3)
    batch = batch_of(flow, [7, 8], [1, 2])
    noise, t = noise_and_time(module, batch[SAMPLE], torch.tensor([[3, 4, 5], [6, 7, 8]]))
    with torch.no_grad():
        alone = [flow.policy.forward(dict(batch), noise[:, k], t[:, k])[0] for k in range(3)]
        torch.testing.assert_close(module.loss(batch), torch.stack(alone).mean(), rtol=1e-6, atol=0)
    assert len({loss.item() for loss in alone}) == 3


@torch.no_grad()
def test_noise_belongs_to_the_sample_and_its_visit(flow):
    module = training(flow, draws=2)
    batch = batch_of(flow, [7, 8, 9], [0, 0, 0])
    loss = module.loss(batch)
    torch.manual_seed(5)  # the global generator has no part in it
    assert torch.equal(module.loss(batch), loss)
    turned = {key: value.flip(0) for key, value in batch.items()}
    torch.testing.assert_close(module.loss(turned), loss, rtol=1e-6, atol=0)
    assert not torch.equal(module.loss(batch | {VISIT: torch.tensor([0, 1, 0])}), loss)
    assert not torch.equal(module.loss(batch | {SAMPLE: torch.tensor([7, 8, 10])}), loss)


def test_the_learning_rate_warms_up_and_falls_as_a_cosine(flow):
    configured = training(flow, lr=0.5, warmup_steps=4, max_steps=20).configure_optimizers()
    optimizer, schedule = configured["optimizer"], configured["lr_scheduler"]["scheduler"]
    rates = []
    for _ in range(25):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates[:5] == pytest.approx([0.125, 0.25, 0.375, 0.5, 0.5])
    assert rates[12] == pytest.approx(0.5 * 0.51)  # half-way down
    assert rates[20:] == pytest.approx([0.01] * 5)  # 2 %, and it stays there
    assert configured["lr_scheduler"]["interval"] == "step"


def test_the_optimizer_takes_what_is_open(flow):
    train_groups(flow)
    (group,) = training(flow, weight_decay=0.25).configure_optimizers()["optimizer"].param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in flow.parameters() if p.requires_grad}
    assert (group["weight_decay"], group["betas"]) == (0.25, (0.9, 0.95))


def test_it_learns(flow):
    """One batch by heart: the loss of the very same noise falls."""
    module = training(flow, draws=2, lr=3e-3, warmup_steps=1, max_steps=20)
    configured = module.configure_optimizers()
    batch = batch_of(flow, [0, 1], [0, 0])
    losses = []
    for _ in range(20):
        loss = module.loss(batch)
        configured["optimizer"].zero_grad()
        loss.backward()
        configured["optimizer"].step()
        configured["lr_scheduler"]["scheduler"].step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_a_full_loss_adds_the_padding_whose_action_is_zero(flow):
    """As LeRobot averaged until 0.5.0: over all native dimensions, those of padding towards zero."""
    batch = batch_of(flow, [7, 8], [0, 1])
    real, full = (training(flow, loss_dims=dims).loss(batch) for dims in ("real", "full"))
    noise, t = noise_and_time(training(flow), batch[SAMPLE], batch[VISIT][:, None])
    space = flow.space
    action = torch.nn.functional.pad(batch["action"], (0, space.padding_dim))[:, None]
    x_t = t[..., None, None] * noise + (1 - t[..., None, None]) * action
    v_t = flow.velocity(flow.encode(batch), x_t, t)
    inside = ~batch["action_is_pad"][:, None, :, None].expand(*v_t.shape[:-1], space.padding_dim)
    padding = (space.padding(v_t) - space.padding(noise)).square()[inside].mean()
    a, p = space.action_dim, space.padding_dim
    torch.testing.assert_close(full, (a * real + p * padding) / (a + p))
