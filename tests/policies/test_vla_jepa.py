"""What is VLA-JEPA's alone: its copies of the step count, its buckets, the world model, pictures made smaller."""

from typing import Any

import pytest
import torch
from lerobot.configs import FeatureType, PolicyFeature

from reflow.data import LeRobotDataModule
from reflow.errors import MissingFileError
from reflow.flow import Draws
from reflow.policies import load_policy, parameter_groups, save_policy
from reflow.policies.files import CONFIG
from reflow.policies.processors import save_new_processors
from reflow.policies.vla_jepa import VLAJEPAFlow
from tests.builders import HEIGHT, TASKS, TOP, WIDTH, make_dataset, make_statistics, quiet, repo_id
from tests.contract.builders.vla_jepa import make

STATE = "observation.state"


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory):
    def fresh(**config: Any) -> VLAJEPAFlow:
        with torch.random.fork_rng(devices=[]), quiet():
            torch.manual_seed(0)
            return make(tmp_path_factory.mktemp("vla_jepa"), **config)

    return fresh


def look(size: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    return {
        STATE: torch.randn(size, 14, generator=generator),
        TOP: torch.rand(size, 3, HEIGHT, WIDTH, generator=generator),
        "task": [TASKS[row % 2] for row in range(size)],
        "action": torch.randn(size, 8, 14, generator=generator),
    }


def noise_of(flow: VLAJEPAFlow, size: int = 2) -> torch.Tensor:
    return flow.noise(Draws(0), torch.arange(size), torch.zeros(size, 1, dtype=torch.long))


def test_the_step_count_is_set_where_inference_reads_it(build):
    flow = build()
    flow.num_steps = 3
    assert flow.policy.config.num_inference_timesteps == 3
    assert flow.policy.model.action_model.num_inference_timesteps == 3


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [3, 5, 7, 9, 10, 27, 32, 37, 100, 1000])
def test_a_time_turned_round_falls_into_lerobot_s_bucket(build, num_steps):
    """LeRobot counts i / n up from the noise; here a solver counts 1 - i / n down in float32.

    Where LeRobot itself rounds down, as 0.57 * 1000 to 569, one bucket more is asked here.
    """
    flow, ours = build(), list[int]()
    head = flow.policy.model.action_model
    head.model.register_forward_pre_hook(
        lambda _, args, kwargs: ours.append(int(kwargs["timestep"][0])), with_kwargs=True
    )
    flow.walk(flow.encode(look(1)), noise_of(flow, 1), num_steps)
    exact = [step * 1000 // num_steps for step in range(num_steps)]
    theirs = [int(step / num_steps * 1000) for step in range(num_steps)]
    assert ours == exact
    rounded = [one - other for one, other in zip(exact, theirs, strict=True)]
    assert set(rounded) <= {0, 1}
    assert sum(rounded) <= num_steps // 50


@torch.no_grad()
def test_the_world_model_is_carried_along_and_moves_no_action(build):
    flow, batch = build(), look()
    before = flow.walk(flow.encode(batch), noise_of(flow))
    groups = parameter_groups(flow)
    assert set(groups) == {"velocity", "vision", "language", "words_out", "world_model"}
    for group in ("world_model", "words_out"):
        for parameter in groups[group].values():
            parameter.fill_(3.0)
    assert torch.equal(flow.walk(flow.encode(batch), noise_of(flow)), before)
    assert torch.equal(flow.stock_chunk(batch, noise_of(flow)[:, 0]), before[:, 0])


@torch.no_grad()
def test_the_loss_is_that_of_actions_whatever_the_world_model_learns(build):
    flow, t = build(), torch.tensor([0.3, 0.8])
    forward = flow.stock_forward(look(), noise_of(flow)[:, 0], t)
    alone = build(enable_world_model=False).stock_forward(look(), noise_of(flow)[:, 0], t)
    assert "world_model" not in parameter_groups(build(enable_world_model=False))
    assert forward.x_t.shape == alone.x_t.shape == (2, 8, 14)  # not eight times over
    assert flow.config.enable_world_model
    assert flow.config.repeated_diffusion_steps == 8
    aim = noise_of(flow)[:, 0] - look()["action"]
    assert torch.isclose(forward.loss, (forward.v_t - aim).square().mean())


def test_frames_after_now_are_not_read(build, tmp_path):
    """LeRobot asks for the frames that its world model foresees; the present one is what actions depend on."""
    flow, data = build(), make_dataset(tmp_path / "set", frames=14)
    assert flow.config.observation_delta_indices == [0, 1, 2, 3]
    module = LeRobotDataModule(
        flow.config, lambda batch: batch, repo_id=repo_id(data), root=data, num_workers=0, batch_size=2
    )
    assert next(iter(module.val_dataloader()))[TOP].shape == (2, 3, HEIGHT, WIDTH)


@torch.no_grad()
@pytest.mark.parametrize("config", [{"resize_images_to": (32, 48)}, {"torch_dtype": "bfloat16"}])
def test_pictures_made_smaller_and_a_qwen_of_16_bits_are_lerobot_s(build, config):
    flow, batch = build(**config), look()
    noise = noise_of(flow)
    context = flow.encode(batch)
    assert context.tokens.dtype == torch.float32
    assert torch.equal(flow.walk(context, noise)[:, 0], flow.stock_chunk(batch, noise[:, 0]))
    trained = parameter_groups(flow)["velocity"].values()
    assert all(parameter.dtype == torch.float32 for parameter in trained)  # masters of their own precision


@torch.no_grad()
@pytest.mark.parametrize("config", [{}, {"resize_images_to": (96, 160)}, {"torch_dtype": "bfloat16"}])
def test_what_the_eye_saw_stands_for_the_cameras(build, config):
    """Two cameras of different sizes, neither a multiple of Qwen's patches."""
    wide = "observation.images.wide"
    features = {
        STATE: PolicyFeature(FeatureType.STATE, (14,)),
        TOP: PolicyFeature(FeatureType.VISUAL, (3, HEIGHT, WIDTH)),
        wide: PolicyFeature(FeatureType.VISUAL, (3, 40, 130)),
    }
    flow = build(input_features=features, **config)
    batch = look() | {wide: torch.rand(2, 3, 40, 130, generator=torch.Generator().manual_seed(1))}
    vision = flow.vision_features(batch)
    blind = {key: value for key, value in batch.items() if key not in (TOP, wide)}
    whole, stored = flow.encode(batch), flow.encode(blind | {"vision": vision})
    assert torch.equal(stored.tokens, whole.tokens)
    assert torch.equal(stored.state, whole.state)
    other = flow.encode(blind | {"vision": {**vision, "features": -vision["features"]}})
    assert not torch.equal(other.tokens, whole.tokens)


@torch.no_grad()
def test_dropout_is_off_while_a_student_learns(build):
    flow = build(action_dropout=0.5)
    noise, t = noise_of(flow), torch.full((2, 1), 0.5)
    still = flow.velocity(flow.encode(look()), noise, t)
    flow.train()
    assert torch.equal(flow.velocity(flow.encode(look()), noise, t), still)


@torch.no_grad()
def test_a_robot_without_a_state(build):
    flow, batch = build(), look()
    del batch[STATE]
    context = flow.encode(batch)
    assert context.state is None
    noise = noise_of(flow)
    assert torch.equal(flow.walk(context, noise)[:, 0], flow.stock_chunk(batch, noise[:, 0]))
    many = noise.expand(-1, 3, -1, -1)
    assert flow.velocity(context, many, torch.full((2, 3), 0.5)).shape == many.shape


def test_without_its_world_model_s_encoder_it_says_what_is_missing(build, tmp_path):
    flow = build()
    save_new_processors(flow, make_statistics(14, 14), tmp_path / "processors")
    folder = save_policy(flow, tmp_path / "processors", tmp_path / "policy")
    assert (folder / "qwen" / "chat_template.jinja").is_file()
    assert (folder / "vjepa" / "video_preprocessor_config.json").is_file()
    text = (folder / CONFIG).read_text()
    (folder / CONFIG).write_text(text.replace(str(folder / "vjepa"), "/nowhere/at_all"))
    with pytest.raises(MissingFileError, match="jepa_encoder_name=/nowhere/at_all"):
        load_policy(folder)
