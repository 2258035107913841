"""pi0 and pi05: teachers in 16 bits, checkpointing, cameras that lack, what is trained, and what is refused."""

import json
import shutil
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from safetensors import safe_open

from reflow.errors import UserError
from reflow.policies import (
    VELOCITY,
    check_belongs,
    find_folder,
    load_policy,
    parameter_groups,
    save_policy,
    train_groups,
)
from reflow.policies.files import CONFIG, POSTPROCESSOR, PREPROCESSOR, WEIGHTS
from tests.builders import TOP, make_batch
from tests.contract.builders.pi import make_folder, noise, stock_weights
from tests.policies.editing import change, change_weights, edit, step
from tests.rounding import apart, of_policy

PARTS = "model.paligemma_with_expert."
HEAD = f"{PARTS}paligemma.lm_head.weight"


@pytest.fixture(scope="module", params=["pi0", "pi05"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "copy"))


def test_actions_relative_to_the_state_are_refused(copy):
    edit(copy / CONFIG, use_relative_actions=True)
    for name, registered in (
        (PREPROCESSOR, "relative_actions_processor"),
        (POSTPROCESSOR, "absolute_actions_processor"),
    ):
        change(
            copy / name,
            lambda content, registered=registered: step(content, registered)["config"].update(enabled=True),
        )
    with pytest.raises(UserError, match="actions relative to the state are not supported here"):
        find_folder(copy)


# -- how it is run


def test_that_a_policy_is_run_in_32_bits_and_not_in_16_is_said(copy, capsys):
    edit(copy / CONFIG, dtype="bfloat16")
    assert find_folder(copy) == copy
    said = capsys.readouterr().err
    assert said.startswith(
        f"warning: {copy / CONFIG} says dtype=bfloat16, and so LeRobot runs the policy; here"
    )
    assert "or set dtype to float32" in said


@pytest.mark.parametrize("value", [None, 0])
def test_a_step_count_that_is_none_is_refused(copy, value):
    edit(copy / CONFIG, num_inference_steps=value)
    with pytest.raises(UserError, match=rf"num_inference_steps is {value}; allowed: 1 or more"):
        find_folder(copy)


def test_a_teacher_in_16_bits_is_trained_in_32_and_delivered_as_it_was(copy, tmp_path):
    edit(copy / CONFIG, dtype="bfloat16")
    in_16_bits = stock_weights(copy)
    expert = f"{PARTS}gemma_expert.model.layers.0.mlp.up_proj.weight"
    assert in_16_bits[expert].dtype == torch.bfloat16
    change_weights(copy, lambda weights: {name: in_16_bits[name] for name in weights})
    flow = load_policy(copy)
    for name, tensor in flow.policy.state_dict().items():
        assert tensor.dtype == torch.float32 or not tensor.is_floating_point(), name
        assert torch.equal(tensor, in_16_bits[name].to(tensor.dtype)), name
    delivered = save_policy(flow, copy, tmp_path / "student")
    assert json.loads((delivered / CONFIG).read_text())["dtype"] == "bfloat16"
    with safe_open(delivered / WEIGHTS, "pt") as file:
        assert file.get_slice(expert).get_dtype() == "F32"  # what was learned is not rounded away
    check_belongs(delivered, copy)  # what is frozen is the same numbers
    theirs = stock_weights(delivered)
    assert all(tensor.dtype == in_16_bits[name].dtype for name, tensor in theirs.items())
    assert all(torch.equal(tensor, in_16_bits[name]) for name, tensor in theirs.items())


def test_checkpointing_changes_nothing_here_and_stays_as_it_was(copy, tmp_path):
    """In LeRobot's training mode it leaves no cache of a prefix, of which velocities are made here."""
    edit(copy / CONFIG, gradient_checkpointing=True)
    flow = load_policy(copy)
    batch, x_t, t = make_batch(flow), noise(flow)[:, None], torch.full((2, 1), 0.5)
    velocity = flow.velocity(flow.encode(batch), x_t, t)
    flow.train()
    assert torch.equal(flow.velocity(flow.encode(batch), x_t, t), velocity)
    flow.policy.train()  # as nobody does
    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'layers'"):
        flow.encode(batch)
    saved = json.loads((save_policy(flow, copy, tmp_path / "student") / CONFIG).read_text())
    assert saved["gradient_checkpointing"] is True


def test_a_compiled_sampler_is_for_the_robot(copy, tmp_path):
    edit(copy / CONFIG, compile_model=True)
    flow = load_policy(copy)
    with patch("torch.compile", side_effect=AssertionError):
        delivered = save_policy(flow, copy, tmp_path / "student")
        assert load_policy(delivered).config.compile_model is False
    assert json.loads((delivered / CONFIG).read_text())["compile_model"] is True


def test_real_time_chunking_is_the_command_line_s(copy, tmp_path):
    edit(copy / CONFIG, rtc_config={"enabled": False, "max_guidance_weight": 10.0})
    flow = load_policy(copy)
    flow.num_steps = 1
    saved = json.loads((save_policy(flow, copy, tmp_path / "student") / CONFIG).read_text())
    assert (saved["num_inference_steps"], saved["rtc_config"]) == (1, None)


# -- what is read, and what is trained


@torch.no_grad()
def test_a_camera_that_lacks_is_lerobot_s_masked_one(copy):
    def second(content):
        content["observation.images.wrist"] = content[TOP]

    change(copy / CONFIG, lambda content: second(content["input_features"]))
    flow = load_policy(copy)
    batch = make_batch(flow)
    both = flow.walk(flow.encode(batch), noise(flow)[:, None])
    del batch["observation.images.wrist"]
    one = flow.walk(flow.encode(batch), noise(flow)[:, None])
    assert torch.equal(one[:, 0], flow.stock_endpoint(batch, noise(flow)))
    assert apart(one, both) > 1e-3
    assert flow.vision_features(batch)["masks"].tolist() == [[True, False]] * 2


@torch.no_grad()
def test_a_camera_that_was_never_fed_is_taken_out_and_nothing_changes(copy, capsys):
    """LeRobot masks it, so its tokens are no more than zeros in sums."""
    extra = "observation.images.wrist"
    for name in (CONFIG, PREPROCESSOR):

        def second(content, name=name):
            config = content if name == CONFIG else step(content, "normalizer_processor")["config"]
            features = config["input_features" if name == CONFIG else "features"]
            features[extra] = features[TOP]
            if name == PREPROCESSOR:
                renames = step(content, "rename_observations_processor")["config"]
                renames["rename_map"] = {"observation.images.front": TOP}

        change(copy / name, second)
    found = find_folder(copy)
    assert f"{extra} is left over from its base" in capsys.readouterr().err
    whole, narrow = load_policy(copy), load_policy(found)
    assert list(narrow.config.image_features) == [TOP]
    batch = make_batch(narrow)
    ours, theirs = (flow.stock_endpoint(batch, noise(flow)) for flow in (narrow, whole))
    assert apart(ours, theirs) < whole.num_steps * of_policy(whole, whole=True)


def test_what_is_unused_gets_no_gradient_from_lerobot_s_training_either(folder):
    flow = load_policy(folder)
    groups = parameter_groups(flow)
    assert list(groups) == [VELOCITY, "vision", "language", "unused"]
    assert {name.removeprefix("policy.") for name in groups["unused"]} == {
        HEAD,
        f"{PARTS}gemma_expert.lm_head.weight",
    }
    flow.requires_grad_(True)
    batch = make_batch(flow, with_actions=True)
    flow.stock_forward(batch, noise(flow), torch.tensor([0.2, 0.7])).loss.backward()
    assert all(parameter.grad is None for parameter in groups["unused"].values())
    assert all(parameter.grad is not None for parameter in groups[VELOCITY].values())


def test_a_trained_prefix_learns_as_in_lerobot_s_training(folder):
    flow = load_policy(folder)
    train_groups(flow, flow.stock_groups)
    batch, t = make_batch(flow, with_actions=True), torch.tensor([0.2, 0.7])
    forward = flow.stock_forward(batch, noise(flow), t)
    forward.loss.backward()
    theirs = {name: p.grad.clone() for name, p in flow.named_parameters() if p.grad is not None}
    flow.zero_grad()
    action = torch.nn.functional.pad(batch["action"], (0, 18))
    velocity = flow.velocity(flow.encode(batch), forward.x_t.detach()[:, None], t[:, None])[:, 0]
    flow.space.real((velocity - noise(flow) + action).square()).mean().backward()
    ours = {name: p.grad for name, p in flow.named_parameters() if p.grad is not None}
    read = [name for name in theirs if ".paligemma." in name and theirs[name].any()]
    assert any("vision_tower" in name for name in read)
    assert any("language_model" in name for name in read)
    for name, gradient in theirs.items():
        # The same number added to every score of a softmax is nothing: that gradient is what rounding left.
        if gradient.any() and not name.endswith("k_proj.bias"):
            assert (ours[name] - gradient).norm() / gradient.norm() < 3 * of_policy(flow, whole=True), name


@torch.no_grad()
def test_losses_and_draws_are_lerobot_s(folder):
    flow = load_policy(folder)
    batch = make_batch(flow, with_actions=True)
    action = torch.nn.functional.pad(batch["action"], (0, 18))
    t = torch.tensor([0.2, 0.7])
    losses = flow.stock_losses(batch, action, noise(flow), t)
    assert torch.equal(flow.space.real(losses).mean(), flow.stock_forward(batch, noise(flow), t).loss)
    with patch.object(flow.policy.model, "sample_time", lambda *_: t):
        assert torch.equal(flow.stock_losses(batch, action, noise(flow)), losses)


def test_in_lerobot_s_sampler_it_embeds_the_prefix_once(folder):
    flow = load_policy(folder)
    owner, method = flow.stock_prefix()
    with patch.object(owner, method, wraps=getattr(owner, method)) as embed:
        flow.stock_endpoint(make_batch(flow), noise(flow))
    embed.assert_called_once()
