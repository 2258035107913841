"""The founding loop: its endpoint and its loss are stock LeRobot's, its padding the script's."""

import pytest
import torch
import torch.nn.functional as F
from lerobot.utils.constants import ACTION

from reflow.flow import EndpointTime, PaddingRule
from reflow.policies import load_policy
from reflow.speed.reference import Reference, founding_student
from tests.builders import make_batch


@pytest.fixture
def loop(folder):
    teacher = load_policy(folder).requires_grad_(False)
    return Reference(teacher, founding_student(folder, "cpu"), PaddingRule(teacher.space))


@pytest.fixture
def noise(loop):
    space = loop.rule.space
    return torch.randn(2, space.chunk_size, space.max_action_dim, generator=torch.Generator().manual_seed(1))


def stock_endpoint(policy, batch, noise):
    images, masks = policy.prepare_images(batch)
    words, word_masks = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
    return policy.model.sample_actions(
        images, masks, words, word_masks, policy.prepare_state(batch), noise=noise
    )


def test_the_teacher_walks_as_stock_inference_does(loop, noise):
    batch = make_batch(loop.teacher)
    with torch.no_grad():
        wanted = stock_endpoint(loop.teacher.policy, batch, noise)
    assert loop.teacher.num_steps == 10
    assert torch.equal(loop.walk(batch, noise), wanted)


def test_the_loss_is_that_of_stock_training_on_the_padded_endpoint(loop, noise):
    batch, t = make_batch(loop.teacher), torch.tensor([0.3, 0.9])
    action = loop.rule.target(loop.walk(batch, noise))
    found = loop.loss(batch, noise, action, t)
    assert not action[..., 14:].any()
    wanted, _ = loop.student.policy.forward({**batch, ACTION: action[..., :14].clone()}, noise, t)
    assert torch.equal(found, wanted)


def test_the_loss_is_the_hand_written_formula(loop, noise):
    batch, t = make_batch(loop.teacher), torch.tensor([0.3, 0.9])
    action = loop.rule.target(loop.walk(batch, noise))
    x_t = t[:, None, None] * noise + (1 - t[:, None, None]) * action
    with torch.no_grad():
        v_t = loop.student.velocity(loop.student.encode(batch), x_t[:, None], t[:, None])[:, 0]
    wanted = F.mse_loss(v_t[..., :14], (noise - action)[..., :14])
    torch.testing.assert_close(loop.loss(batch, noise, action, t).detach(), wanted, rtol=1e-5, atol=0)


def test_a_step_draws_one_real_noise_per_observation_and_leaves_the_times_to_lerobot(loop, monkeypatch):
    seen = {}
    monkeypatch.setattr(loop, "loss", lambda batch, *rest: seen.setdefault("rest", rest) and torch.zeros(()))
    loop.training_step(make_batch(loop.teacher, size=3))
    noise, action, time = seen["rest"]
    assert noise.shape == action.shape == (3, 8, 32)
    assert not noise[..., 14:].any()
    assert noise[..., :14].std() > 0.8
    assert time is None


def test_it_can_draw_the_times_as_ours_does(loop, monkeypatch):
    loop.time = EndpointTime()
    seen = {}
    monkeypatch.setattr(loop, "loss", lambda batch, *rest: seen.setdefault("rest", rest) and torch.zeros(()))
    loop.training_step(make_batch(loop.teacher))
    assert torch.equal(seen["rest"][2], torch.ones(2))


def test_gradients_reach_the_expert_and_through_the_text_model_the_state_projection(loop):
    loop.training_step(make_batch(loop.teacher)).backward()
    grown = {name for name, parameter in loop.student.named_parameters() if parameter.grad is not None}
    assert any("state_proj" in name for name in grown)
    assert any("lm_expert" in name for name in grown)
    assert not any(".vlm." in name for name in grown)
    assert all(parameter.grad is None for parameter in loop.teacher.parameters())


def test_two_whole_policies_are_in_memory(loop):
    theirs = {parameter.data_ptr() for parameter in loop.teacher.parameters()}
    assert theirs.isdisjoint(parameter.data_ptr() for parameter in loop.student.parameters())
