"""What every adapter does alike: freezing for distillation, and padding made inert (``valid14``)."""

from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor

from reflow.flow import PaddingRule, velocity_loss
from reflow.policies import (
    FlowPolicy,
    encodes_with_gradient,
    load_policy,
    parameter_groups,
    prefix_parameters,
    save_policy,
    shares_prefix,
    train_groups,
)
from reflow.policies.smolvla import SmolVLAFlow
from tests.builders import make_batch, make_policy

EXPERT = (".lm_expert.", ".action_in_proj.", ".action_out_proj.", ".action_time_mlp_")
FLAGS = list(product([False, True], repeat=3))


@pytest.fixture
def flow(vlm_folder: Path) -> FlowPolicy:
    return make_policy(vlm_folder)


def trainable(flow: FlowPolicy) -> set[str]:
    return {name for name, parameter in flow.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("frozen_before", [False, True])
@pytest.mark.parametrize(("see", "expert_only", "state"), FLAGS)
def test_preparing_freezes_exactly_the_prefix(vlm_folder, see, expert_only, state, frozen_before):
    flow = make_policy(
        vlm_folder, freeze_vision_encoder=see, train_expert_only=expert_only, train_state_proj=state
    )
    if frozen_before:
        flow.requires_grad_(False)
    expert = {name for name, _ in flow.named_parameters() if any(part in name for part in EXPERT)}
    projection = {"policy.model.state_proj.weight", "policy.model.state_proj.bias"}
    train_groups(flow)
    assert trainable(flow) == expert
    assert not encodes_with_gradient(flow)
    train_groups(flow, ("velocity", "state_proj"))
    assert trainable(flow) == expert | projection
    assert encodes_with_gradient(flow)
    train_groups(flow)  # and back again
    assert trainable(flow) == expert


def test_the_prefix_is_all_that_encode_reads(flow):
    """Else one encoding would not serve teacher and student."""
    batch = make_batch(flow)
    before = flow.encode(batch)
    prefix = {name for name, _ in prefix_parameters(flow).items()}
    with torch.no_grad():
        for name, parameter in flow.named_parameters():
            if name not in prefix:
                parameter.add_(1.0)
    after = flow.encode(batch)
    for (keys, values), (new_keys, new_values) in zip(before.layers, after.layers, strict=True):
        assert torch.equal(keys, new_keys)
        assert torch.equal(values, new_values)


def test_every_parameter_is_in_one_group(flow):
    groups = parameter_groups(flow)
    assert list(groups) == ["velocity", "state_proj", "vision", "language"]
    assert all(groups.values())
    names = [name for group in groups.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in flow.named_parameters())


def test_vision_features_are_a_function_of_the_groups_that_are_named(flow):
    batch = make_batch(flow)
    before = flow.vision_features(batch)["features"]
    groups = parameter_groups(flow)
    with torch.no_grad():
        for group, parameters in groups.items():
            for parameter in parameters.values() if group not in flow.vision_groups else ():
                parameter.add_(1.0)
        assert torch.equal(flow.vision_features(batch)["features"], before)
        for group in flow.vision_groups:
            for parameter in groups[group].values():
                parameter.add_(1.0)
    assert not torch.equal(flow.vision_features(batch)["features"], before)


def test_refuses_to_train_groups_that_are_not_there(flow):
    with pytest.raises(
        ValueError,
        match=r"student.trained holds 'eye'.*smolvla has .* velocity, state_proj, vision, language",
    ):
        train_groups(flow, ("velocity", "eye"))
    with pytest.raises(ValueError, match=r"student.trained is empty; allowed: one or more of velocity"):
        train_groups(flow, ())


class Whole(SmolVLAFlow):
    """A policy whose prefix cannot be told from the rest."""

    prefix_groups = dict


def test_where_the_prefix_cannot_be_told_from_the_rest_all_is_trained_and_nothing_shared(flow, vlm_folder):
    whole, other = Whole(flow.policy), Whole(make_policy(vlm_folder).policy)
    train_groups(whole)
    assert trainable(whole) == {name for name, _ in whole.named_parameters()}
    assert encodes_with_gradient(whole)
    assert not shares_prefix(other, whole)


def test_dropout_stays_off_in_training(flow):
    flow.policy.model.state_proj.add_module("dropout", torch.nn.Dropout(0.5))
    flow.train()
    assert flow.training
    assert not any(module.training for module in flow.policy.modules())  # dropout of every form among them


def noises_that_differ_on_padding(flow: FlowPolicy, size: int) -> tuple[Tensor, Tensor]:
    space = flow.space
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(size, 1, space.chunk_size, space.max_action_dim, generator=generator)
    other = noise.clone()
    space.padding(other).normal_(std=30.0, generator=generator)
    return noise, other


@torch.no_grad()
def padding_reaches(flow: FlowPolicy, num_steps: int) -> bool:
    """Whether the padding of the noise reaches any real dimension, be it in the last bit."""
    noise, other = noises_that_differ_on_padding(flow, 2)
    context = flow.encode(make_batch(flow))
    one, two = (flow.space.real(flow.walk(context, start, num_steps)) for start in (noise, other))
    assert torch.isfinite(one).all()
    return not torch.equal(one, two)


def train_briefly(flow: FlowPolicy, steps: int = 4) -> None:
    """A few steps of AdamW with more weight decay than anybody takes, and the loss on all dimensions."""
    rule = PaddingRule(flow.space, "full", "full", "full")
    optimizer = torch.optim.AdamW(
        [p for p in flow.parameters() if p.requires_grad], lr=1e-2, weight_decay=0.3
    )
    context = flow.encode(make_batch(flow))
    noise, target = noises_that_differ_on_padding(flow, 2)
    for step in range(steps):
        t = torch.full(noise.shape[:2], 0.2 + 0.2 * step)
        loss = velocity_loss(flow.velocity(context, noise, t), target, rule)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_silent_padding_reaches_nothing_even_after_training(flow, teacher_folder, tmp_path):
    assert padding_reaches(flow, 1)
    train_groups(flow)
    before = flow.policy.model.action_in_proj.weight.detach().clone()
    flow.silence_padding()
    width = flow.space.action_dim
    assert torch.equal(flow.policy.model.action_in_proj.weight[:, :width], before[:, :width])
    assert not padding_reaches(flow, 1)
    assert not padding_reaches(flow, 10)
    train_briefly(flow)
    weight = flow.policy.model.action_in_proj.weight
    assert torch.count_nonzero(weight[:, width:]) == 0
    assert torch.count_nonzero(weight[:, :width] != before[:, :width]) > 0.9 * width * len(weight)
    assert not padding_reaches(flow, 1)
    assert not padding_reaches(flow, 10)
    saved = load_policy(save_policy(flow, teacher_folder, tmp_path / "student"))
    noise, other = noises_that_differ_on_padding(flow, 2)
    one, two = (
        saved.policy.predict_action_chunk(make_batch(flow), noise=start[:, 0]) for start in (noise, other)
    )
    assert torch.equal(one, two)


def test_without_silence_training_leaves_padding_loud(flow):
    """The mask is what holds the columns: zeroed once and trained on, they come back."""
    train_groups(flow)
    with torch.no_grad():
        flow.policy.model.action_in_proj.weight[:, flow.space.action_dim :] = 0.0
    assert not padding_reaches(flow, 1)
    train_briefly(flow, steps=1)
    assert padding_reaches(flow, 1)
