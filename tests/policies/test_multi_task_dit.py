"""What is LeRobot's multi-task diffusion transformer's own: solvers, history, sigma_min, random crop."""

from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.errors import UserError
from reflow.flow import EULER, RK4, Draws, straight_path
from reflow.policies import velocity_calls
from reflow.policies.multi_task_dit import MultiTaskDiTFlow
from tests.builders import HEIGHT, TOP, WIDTH, quiet
from tests.contract.builders.multi_task_dit import make_clip_folder, make_dit
from tests.rounding import apart, of_policy

STATE = "observation.state"
EPS = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with quiet():
        return make_clip_folder(tmp_path_factory.mktemp("backbone") / "clip")


def make(clip: Path, **config: Any) -> MultiTaskDiTFlow:
    with quiet(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make_dit(clip, **config)


def look(steps: int = 2, size: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    return {
        STATE: torch.randn(size, steps, 14, generator=generator),
        TOP: torch.rand(size, steps, 3, HEIGHT, WIDTH, generator=generator),
        "observation.language.tokens": torch.tensor([[3, 4, 1, 0]]).expand(size, -1),
        "observation.language.attention_mask": torch.tensor([[1, 1, 1, 0]]).bool().expand(size, -1),
        "action": torch.randn(size, 8, 14, generator=generator),
    }


def noise_of(flow: MultiTaskDiTFlow, draws: int = 1) -> torch.Tensor:
    return flow.noise(Draws(0), torch.arange(2), torch.arange(draws).expand(2, -1))


def test_a_policy_trained_by_diffusion_is_refused(clip, tmp_path):
    flow = make(clip, objective="diffusion")
    flow.policy.save_pretrained(tmp_path)
    config = flow.config
    with pytest.raises(UserError, match=r"objective=diffusion .*allowed: flow_matching.*policy\.objective"):
        MultiTaskDiTFlow.prepare(config, tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 2, 3, 4, 8])
def test_rk4_is_lerobot_s_own_and_asks_four_times_a_step(clip, num_steps):
    flow, batch = make(clip, integration_method="rk4", num_integration_steps=num_steps), look()
    assert flow.solver is RK4
    with velocity_calls(flow) as calls:
        ours = flow.walk(flow.encode(batch), noise_of(flow))[:, 0]
    assert len(calls) == 4 * num_steps
    assert torch.equal(ours, flow.stock_endpoint(batch, noise_of(flow)[:, 0]))


@torch.no_grad()
def test_the_chunk_is_what_lerobot_plays_after_it_has_seen_the_history(clip):
    flow, batch = make(clip), look()
    noise = noise_of(flow)
    chunk = flow.output(flow.walk(flow.encode(batch), noise))[:, 0]
    assert chunk.shape == (2, 6, 14)
    del batch["action"]
    flow.policy.reset()
    flow.policy._queues = flow.policy._queues | {"action": flow.policy._queues["action"].__class__(maxlen=6)}
    first = batch | {key: batch[key][:, 0] for key in (STATE, TOP)}
    flow.policy.select_action(first)
    flow.policy._queues["action"].clear()
    drawn = torch.randn
    torch.randn = lambda *args, **kwargs: noise[:, 0].clone()
    try:
        action = flow.policy.select_action(batch | {key: batch[key][:, 1] for key in (STATE, TOP)})
    finally:
        torch.randn = drawn
    assert torch.equal(action, chunk[:, 0])
    kept = len(flow.policy._queues["action"])
    flow.stock_chunk(batch, noise[:, 0])
    assert len(flow.policy._queues["action"]) == kept  # an episode that is being played goes on


@torch.no_grad()
def test_a_single_observation_is_an_episode_s_first(clip):
    flow, batch = make(clip), look()
    one = batch | {key: batch[key][:, 0] for key in (STATE, TOP)}
    twice = batch | {key: batch[key][:, :1].expand_as(batch[key]) for key in (STATE, TOP)}
    assert torch.equal(flow.encode(one), flow.encode(twice))
    alone = make(clip, n_obs_steps=1)
    assert alone.output(noise_of(alone)).equal(noise_of(alone)[..., :6, :])
    assert torch.equal(
        alone.encode(one), alone.encode(batch | {key: batch[key][:, :1] for key in (STATE, TOP)})
    )


@torch.no_grad()
def test_with_sigma_min_lerobot_aims_beside_the_action(clip):
    flow, batch, t = make(clip, sigma_min=0.1), look(), torch.tensor([0.7, 0.2])
    noise = noise_of(flow)[:, 0]
    forward = flow.stock_forward(batch, noise, t)
    aim = batch["action"] + 0.1 * noise
    point = straight_path(noise, aim, t)
    assert apart(point.x_t, forward.x_t) < 8 * EPS  # three products and two sums, either way
    velocity = flow.velocity(flow.encode(batch), forward.x_t[:, None], t[:, None])[:, 0]
    assert apart(velocity, forward.v_t) < of_policy(flow)
    loss = (velocity - (noise - aim)).square().mean()
    assert apart(loss, forward.loss) < of_policy(flow)


@torch.no_grad()
@pytest.mark.parametrize("config", [{"use_rope": False, "use_positional_encoding": True}, {"dropout": 0.5}])
def test_training_sees_what_inference_sees(clip, config):
    """LeRobot's crop is random in training, and its attention drops out on its own account."""
    flow, batch = make(clip, image_crop_is_random=True, **config), look()
    t = torch.full((2, 1), 0.5)
    still = flow.velocity(flow.encode(batch), noise_of(flow), t)
    flow.train()
    assert flow.training
    assert torch.equal(flow.velocity(flow.encode(batch), noise_of(flow), t), still)
    flow.policy.train()
    assert not torch.equal(flow.velocity(flow.encode(batch), noise_of(flow), t), still)


@torch.no_grad()
def test_an_encoder_for_each_camera(clip):
    flow, batch = make(clip, use_separate_rgb_encoder_per_camera=True), look()
    noise = noise_of(flow)
    assert torch.equal(flow.walk(flow.encode(batch), noise)[:, 0], flow.stock_endpoint(batch, noise[:, 0]))
    assert all(flow.prefix_groups().values())


def test_a_student_of_a_teacher_by_rk4_takes_euler_steps(clip):
    flow = make(clip, integration_method="rk4")
    flow.take_steps(1)
    assert (flow.policy.config.integration_method, flow.num_steps, flow.solver) == ("euler", 1, EULER)
