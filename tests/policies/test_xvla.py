"""X-VLA: an answer that is an action, a sampler that is Euler for two steps, and what is refused for it."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import EULER, HEUN, Draws, integrate, straight_path
from reflow.policies.xvla import EULER_STEPS, XVLAFlow
from tests.contract.builders.xvla import make
from tests.rounding import apart, of_policy

B, K = 2, 3


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> XVLAFlow:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = make(tmp_path_factory.mktemp("xvla"))
    assert isinstance(made, XVLAFlow)
    return made


def observation() -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(0)
    return {
        "observation.state": torch.randn(B, 14, generator=random),
        "observation.images.top": torch.rand(B, 3, 24, 32, generator=random),
        "observation.language.tokens": torch.randint(3, 20, (B, 10), generator=random),
    }


def noise_of(flow: XVLAFlow, draws: int = K) -> Tensor:
    return flow.noise(Draws(0), torch.arange(B), torch.arange(draws).expand(B, -1))


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, EULER_STEPS])
def test_one_step_and_two_are_euler_s(flow, num_steps):
    context, noise = flow.encode(observation()), noise_of(flow)
    euler = integrate(flow.field(context), noise, num_steps, EULER, time_dims=2).endpoint
    assert apart(euler, flow.walk(context, noise, num_steps)) < num_steps * of_policy(flow)


@torch.no_grad()
def test_more_steps_are_not(flow):
    context, noise = flow.encode(observation()), noise_of(flow)
    euler = integrate(flow.field(context), noise, EULER_STEPS + 1, EULER, time_dims=2).endpoint
    assert apart(euler, flow.walk(context, noise, EULER_STEPS + 1)) > 1e-3


@torch.no_grad()
def test_the_velocity_leads_from_the_answer_to_the_noise(flow):
    """A policy that answers with the action of a path has that path's velocity."""
    context, noise, t = flow.encode(observation()), noise_of(flow), torch.full((B, K), 0.4)
    x_t = straight_path(noise, torch.zeros_like(noise), t).x_t
    answer = flow._answer(context.repeat(K), x_t.flatten(0, 1), t.flatten()).view(x_t.shape)
    back = x_t - t[..., None, None] * flow.velocity(context, x_t, t)
    assert apart(back, answer) < 8 * torch.finfo(torch.float32).eps * x_t.abs().max() / answer.abs().max()


@torch.no_grad()
def test_a_teacher_is_carried_to_where_lerobot_s_sampler_ends(flow):
    context, noise = flow.encode(observation()), noise_of(flow)
    assert torch.equal(flow.end(context, noise, 10, EULER), flow.walk(context, noise, 10))
    with pytest.raises(UserError, match=r"solver=heun; allowed for a teacher of type xvla: euler"):
        flow.end(context, noise, 10, HEUN)


def test_a_student_takes_two_steps_at_most(flow):
    for num_steps in (2, 1):
        flow.take_steps(num_steps)
        assert flow.policy.config.num_denoising_steps == num_steps
    with pytest.raises(UserError, match=r"student\.num_steps=3; allowed for a policy of type xvla: 1 to 2"):
        flow.take_steps(3)


@pytest.mark.parametrize("mode", ["ee6d", "joint", "agibot_ee6d", "so101_bimanual"])
def test_actions_that_are_logits_are_refused(flow, mode, monkeypatch):
    monkeypatch.setattr(flow.policy.config, "action_mode", mode)
    with pytest.raises(UserError, match=rf"action_mode={mode} in .*config.json; allowed: auto"):
        XVLAFlow.prepare(flow.policy.config, Path("folder"))


@torch.no_grad()
def test_a_domain_has_weights_of_its_own(flow):
    noise, t = noise_of(flow), torch.full((B, K), 0.5)
    first = flow.velocity(flow.encode(observation()), noise, t)
    other = observation() | {"domain_id": torch.tensor([0, 2])}
    velocity = flow.velocity(flow.encode(other), noise, t)
    assert torch.equal(velocity[0], first[0])
    assert apart(velocity[1], first[1]) > 1e-3


@torch.no_grad()
def test_sixteen_bits_are_lerobot_s(tmp_path):
    """A policy in bfloat16 casts noise and times, and so does the adapter."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        flow = make(tmp_path, dtype="bfloat16")
    flow.num_steps = 4
    noise = noise_of(flow, 1)
    ours = flow.walk(flow.encode(observation()), noise)[:, 0]
    assert ours.dtype == torch.float32
    assert torch.equal(ours, flow.stock_endpoint(observation(), noise[:, 0]))
