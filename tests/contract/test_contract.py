"""What every adapter owes: LeRobot's own velocities, loss, gradients, endpoints and chunks; and its manners.

Where both sides run the same operations at the same times the bits are the same; else the bound is that of rounding
in another order (:mod:`tests.rounding`).
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reflow.flow import EULER, RK4, straight_path
from reflow.objectives.span import add_span, asked_for, fold_span
from reflow.policies import (
    VELOCITY,
    ActionBias,
    FlowPolicy,
    FreezablePrefix,
    PaddingInputs,
    StockCheck,
    StorablePrefix,
    encodes_with_gradient,
    load_policy,
    merge_lora,
    parameter_groups,
    save_policy,
    stock,
    train_groups,
    velocity_calls,
    with_lora,
)
from tests.contract.cases import TIMES
from tests.contract.conftest import SIZE, Subject
from tests.rounding import apart, of_policy


def tensors_of(value: Any) -> Iterator[Tensor]:
    """Every tensor inside a context, however it is nested."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for entry in value.values():
            yield from tensors_of(entry)
    elif isinstance(value, (list, tuple)):
        for entry in value:
            yield from tensors_of(entry)
    elif hasattr(value, "__dataclass_fields__"):
        yield from tensors_of([getattr(value, name) for name in value.__dataclass_fields__ if name[0] != "_"])


def cloned(batch: Any) -> Any:
    return copy.deepcopy(batch)


def same(one: Any, other: Any) -> bool:
    pairs = zip(tensors_of(one), tensors_of(other), strict=True)
    return all(torch.equal(ours, theirs) for ours, theirs in pairs)


def with_actions(subject: Subject) -> dict[str, Any]:
    """What LeRobot's training is given, no step of it being padded."""
    return {key: value for key, value in cloned(subject.training).items() if key != "action_is_pad"}


def stock_forward(subject: Subject, flow: FlowPolicy) -> Any:
    assert isinstance(flow, StockCheck)
    return flow.stock_forward(with_actions(subject), subject.noise(flow)[:, 0], TIMES)


def aim(subject: Subject, flow: FlowPolicy) -> Tensor:
    """Where LeRobot's training sends the flow: the actions at native width."""
    action = flow.target(subject.training["action"])
    return F.pad(action, (0, flow.space.padding_dim))


@torch.no_grad()
def test_the_path_and_its_direction_are_those_of_lerobot_s_training(subject, flow):
    noise = subject.noise(flow)[:, 0]
    forward = stock_forward(subject, flow)
    point = straight_path(noise, aim(subject, flow), TIMES)
    assert (
        apart(point.x_t, forward.x_t) < 8 * torch.finfo(torch.float32).eps
    )  # two products and a sum, either way


@torch.no_grad()
def test_velocity_is_that_of_lerobot_s_training(subject, flow):
    forward = stock_forward(subject, flow)
    ours = flow.velocity(flow.encode(subject.observed), forward.x_t[:, None], TIMES[:, None])[:, 0]
    assert apart(ours, forward.v_t) < of_policy(flow)


def test_loss_and_gradient_are_those_of_lerobot_s_training(subject, flow):
    train_groups(flow)
    forward = stock_forward(subject, flow)
    forward.loss.backward()
    expected = {
        name: parameter.grad.clone()
        for name, parameter in flow.named_parameters()
        if parameter.requires_grad and parameter.grad is not None
    }
    flow.zero_grad()
    context = flow.encode(subject.observed)
    ours = flow.velocity(context, forward.x_t.detach()[:, None], TIMES[:, None])[:, 0]
    target = subject.noise(flow)[:, 0] - aim(subject, flow)
    weight = subject.case.weight(TIMES)[:, None, None]
    loss = subject.case.reduce(flow, weight * (ours - target).square())
    assert apart(loss.detach(), forward.loss.detach()) < of_policy(flow)
    loss.backward()
    assert len(expected) > 4
    largest = max(gradient.norm() for gradient in expected.values())
    for name, parameter in flow.named_parameters():
        if name in expected:
            assert parameter.grad is not None, name
            scale = largest if subject.case.is_invariant(name) else expected[name].norm().clamp_min(1e-12)
            distance = (parameter.grad - expected[name]).norm() / scale
            assert distance < 3 * of_policy(flow), (name, distance)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 2, 4, 8, 10])
def test_walking_ends_where_lerobot_s_inference_ends(subject, flow, num_steps):
    flow.num_steps = num_steps
    noise, context = subject.noise(flow), flow.encode(subject.observed)
    ours = flow.walk(context, noise)[:, 0]
    assert torch.equal(
        flow.end(context, noise, num_steps, flow.solver)[:, 0], ours
    )  # as a teacher's pairs are made
    theirs = flow.stock_endpoint(cloned(subject.observed), noise[:, 0])
    if num_steps in subject.case.steps:
        assert torch.equal(ours, theirs)
    else:  # times round
        assert apart(ours, theirs) < num_steps * of_policy(flow)


@torch.no_grad()
@pytest.mark.parametrize("num_steps", [1, 4])
def test_a_chunk_is_that_of_predict_action_chunk(subject, flow, num_steps):
    flow.num_steps = num_steps
    noise = subject.noise(flow)
    ours = flow.output(flow.walk(flow.encode(subject.observed), noise))[:, 0]
    theirs = flow.stock_chunk(cloned(subject.observed), noise[:, 0])
    assert ours.shape == theirs.shape
    assert torch.equal(ours, theirs)
    assert not torch.equal(
        theirs, flow.stock_chunk(cloned(subject.observed), subject.noise(flow, seed=1)[:, 0])
    )


@torch.no_grad()
def test_draws_on_one_prefix_are_separate_calls(subject, flow):
    context, noise = flow.encode(subject.observed), subject.noise(flow, draws=3)
    t = torch.linspace(0.9, 0.2, 3 * SIZE).view(SIZE, 3)
    together = flow.velocity(context, noise, t)
    apiece = [flow.velocity(context, noise[:, draw, None], t[:, draw, None]) for draw in range(3)]
    assert apart(together, torch.cat(apiece, 1)) < of_policy(flow)


@torch.no_grad()
def test_noise_and_time_and_observation_move_the_velocity(subject, flow):
    noise, t = subject.noise(flow, draws=2), torch.full((SIZE, 1), 0.7)
    context = flow.encode(subject.observed)
    velocity = flow.velocity(context, noise[:, :1], t)
    assert apart(flow.velocity(context, noise[:, 1:], t), velocity) > 1e-3
    assert apart(flow.velocity(context, noise[:, :1], t / 2), velocity) > 1e-3
    assert apart(velocity[:1].expand(SIZE, -1, -1, -1), velocity) > 1e-3


def test_nothing_that_is_handed_in_is_changed(subject, flow):
    train_groups(flow)
    batch, noise, t = cloned(subject.observed), subject.noise(flow, draws=2), torch.full((SIZE, 2), 0.5)
    context = flow.encode(batch)
    kept = [tensor.detach().clone() for tensor in tensors_of(context)]
    before = noise.clone()
    for _ in range(2):  # with gradients, any number of times
        flow.velocity(context, noise, t).square().mean().backward()
    with torch.no_grad():
        flow.walk(context, noise, 2)
        flow.stock_chunk(batch, noise[:, 0])
        flow.stock_endpoint(batch, noise[:, 0])
    assert torch.equal(noise, before)
    assert torch.equal(t, torch.full((SIZE, 2), 0.5))
    assert same(batch, subject.observed)
    assert all(torch.equal(one, other) for one, other in zip(tensors_of(context), kept, strict=True))


def test_training_mode_has_no_dropout(subject, flow):
    noise, t = subject.noise(flow), torch.full((SIZE, 1), 0.5)
    with torch.no_grad():
        still = flow.velocity(flow.encode(subject.observed), noise, t)
        flow.train()
        for _ in range(2):
            assert torch.equal(flow.velocity(flow.encode(subject.observed), noise, t), still)


@torch.no_grad()
def test_the_noise_is_what_lerobot_draws(subject, flow):
    """LeRobot is watched while it draws: normal or uniform numbers, for every native dimension."""
    drawn, shape = set(), (SIZE, flow.space.chunk_size, flow.space.max_action_dim)
    kinds = {"randn": "normal", "normal": "normal", "randn_like": "normal", "rand": "uniform"}

    def watch(name: str, draw: Any) -> Any:
        def watched(*args: Any, **kwargs: Any) -> Any:
            out = draw(*args, **kwargs)
            if out.numel() == torch.Size(shape).numel():
                drawn.add(kinds[name])
            return out

        return patch(f"torch.{name}", watched)

    stock_policy = stock.get_policy_class(flow.config.type).from_pretrained(subject.folder)
    flow = type(flow)(stock_policy.eval())
    with torch.random.fork_rng(devices=[]):
        patches = [watch(name, getattr(torch, name)) for name in kinds]
        for entry in patches:
            entry.start()
        try:
            flow.policy.reset()
            subject.case.alone(flow, cloned(subject.observed))
        finally:
            for entry in patches:
                entry.stop()
    assert drawn == {subject.case.noise}
    noise = subject.noise(flow, draws=64)
    real = flow.space.real(noise)
    if subject.case.noise == "uniform":
        assert real.abs().max() <= 1
        assert (
            abs(real.var().item() * 3 - 1) < 6 * (0.8 / real.numel()) ** 0.5
        )  # six deviations of a variance
    else:
        assert abs(real.var().item() - 1) < 6 * (2 / real.numel()) ** 0.5
    assert flow.padding == subject.case.padding
    if flow.padding == "masked":
        assert not flow.space.padding(noise).any()


@torch.no_grad()
def test_stock_lerobot_loads_what_is_saved_and_makes_as_many_velocity_calls_as_were_asked(
    subject, flow, tmp_path
):
    for num_steps in (1, 3):
        flow.num_steps = num_steps
        folder = save_policy(flow, subject.folder, tmp_path / str(num_steps) / "pretrained_model")
        loaded = stock.get_policy_class(flow.config.type).from_pretrained(folder)
        again = type(flow)(loaded.eval())
        noise = subject.noise(flow)[:, 0]
        with velocity_calls(again) as calls:
            theirs = again.stock_chunk(cloned(subject.observed), noise)
        assert torch.equal(theirs, flow.stock_chunk(cloned(subject.observed), noise))
        assert len(calls) == num_steps
        assert again.num_steps == num_steps


@torch.no_grad()
def test_a_folder_that_was_moved_still_loads(subject, flow, tmp_path):
    moved = tmp_path / "elsewhere"
    save_policy(flow, subject.folder, tmp_path / "here")
    shutil.move(tmp_path / "here", moved)
    noise = subject.noise(flow)[:, 0]
    theirs = load_policy(moved).stock_chunk(cloned(subject.observed), noise)
    assert torch.equal(theirs, flow.stock_chunk(cloned(subject.observed), noise))


@torch.no_grad()
def test_a_frozen_prefix_is_all_that_encode_reads(subject, flow):
    groups = parameter_groups(flow)
    names = sorted(name for group in groups.values() for name in group)
    assert names == sorted(name for name, _ in flow.named_parameters())
    if not isinstance(flow, FreezablePrefix):
        pytest.skip("its prefix cannot be told from the rest")
    assert all(groups.values())
    before = flow.encode(subject.observed)
    for parameter in groups[VELOCITY].values():
        parameter.add_(1.0)
    assert same(flow.encode(subject.observed), before)


def test_all_that_is_trained_learns(subject, flow):
    """No parameter is averaged, kept and stepped for nothing."""
    train_groups(flow)
    context = flow.encode(subject.observed)
    assert encodes_with_gradient(flow) == any(tensor.requires_grad for tensor in tensors_of(context))
    noise, t = subject.noise(flow, draws=2), torch.tensor([[0.9, 0.2]]).expand(SIZE, 2)
    flow.velocity(context, noise, t).square().mean().backward()
    lazy = [
        name
        for name, parameter in flow.named_parameters()
        if parameter.requires_grad
        and (parameter.grad is None or not parameter.grad.any())
        and not any(part in name for part in subject.case.untrained)
        and not subject.case.is_invariant(name)
    ]
    assert not lazy


@torch.no_grad()
def test_silenced_padding_reaches_nothing(subject, flow):
    if not isinstance(flow, PaddingInputs) or not flow.space.padding_dim:
        pytest.skip("no padding that could be silenced")
    context, t = flow.encode(subject.observed), torch.full((SIZE, 1), 0.6)
    noise, width = subject.noise(flow), flow.space.action_dim
    other = torch.cat([noise[..., :width], subject.noise(flow, seed=1)[..., width:]], -1)
    loud = apart(
        flow.space.real(flow.velocity(context, other, t)), flow.space.real(flow.velocity(context, noise, t))
    )
    flow.silence_padding()
    assert torch.equal(flow.velocity(context, other, t), flow.velocity(context, noise, t))
    assert loud > 1e-4


@torch.no_grad()
def test_a_prefix_that_was_stored_serves_as_well(subject, flow):
    if not isinstance(flow, StorablePrefix):
        pytest.skip("its prefix cannot be stored")
    context, noise, t = (
        flow.encode(subject.observed),
        subject.noise(flow, draws=2),
        torch.full((SIZE, 2), 0.5),
    )
    packed = flow.pack(context)
    assert all(tensor.shape[0] == SIZE for tensor in packed.values())
    velocity = flow.velocity(context, noise, t)
    assert torch.equal(flow.velocity(flow.unpack(packed), noise, t), velocity)
    longer = {key: F.pad(value, [0, 0] * (value.ndim - 2) + [0, 3]) for key, value in packed.items()}
    assert apart(flow.velocity(flow.unpack(longer), noise, t), velocity) < of_policy(flow)
    seen = {**subject.observed, "vision": flow.vision_features(subject.observed)}
    assert same(flow.encode(seen), context)


@torch.no_grad()
def test_a_part_of_a_batch_is_a_batch(subject, flow):
    two = flow.rows(cloned(subject.observed), SIZE, 2)
    noise = subject.noise(flow)[:2]
    with subject.case.precisely():
        alone = flow.walk(flow.encode(two), noise, 1)
        whole = flow.walk(flow.encode(subject.observed), subject.noise(flow), 1)[:2]
    assert apart(alone, whole) < of_policy(flow, whole=True)


@torch.no_grad()
def test_the_solver_is_lerobot_s(flow):
    assert flow.solver in (EULER, RK4)


def test_low_rank_additions_begin_as_nothing_learn_and_are_merged(subject, flow):
    teacher = subject.load().requires_grad_(False)
    batch, noise, t = subject.observed, subject.noise(flow), torch.full((SIZE, 1), 0.6)
    with torch.no_grad():
        before = flow.velocity(flow.encode(batch), noise, t)
        theirs = teacher.velocity(teacher.encode(batch), noise, t)
    student = with_lora(flow, teacher, rank=2)
    added = {name: p for name, p in student.named_parameters() if "lora_B" in name}
    assert added
    velocity = student.velocity(student.encode(batch), noise, t)
    assert apart(velocity.detach(), before) < of_policy(flow)
    velocity.square().mean().backward()
    lazy = [name for name, p in added.items() if p.grad is None or not p.grad.any()]
    assert all(any(part in name for part in subject.case.untrained) for name in lazy)
    with torch.no_grad():
        for parameter in added.values():
            parameter.normal_(std=0.05)
        moved = student.velocity(student.encode(batch), noise, t)
        merge_lora(student)
        merged = student.velocity(student.encode(batch), noise, t)
        still = teacher.velocity(teacher.encode(batch), noise, t)
    assert apart(moved, before) > 1e-4
    assert apart(merged, moved) < 2 * of_policy(student)
    assert torch.equal(still, theirs)  # the sums are tensors of their own
    assert list(student.policy.state_dict()) == list(teacher.policy.state_dict())


@torch.no_grad()
def test_a_second_time_is_folded_into_a_bias(subject, flow):
    assert isinstance(flow, ActionBias)  # each of those that are served has such a layer
    train_groups(flow, [VELOCITY])
    add_span(flow)
    for parameter in flow.get_submodule("span").parameters():
        parameter.normal_(std=0.3)
    flow.eval().take_steps(2)
    context, noise, t = (
        flow.encode(subject.observed),
        subject.noise(flow, draws=2),
        torch.full((SIZE, 2), 0.5),
    )
    with asked_for(flow, torch.tensor([[0.5, 0.0]]).expand(SIZE, 2)):
        asked = flow.velocity(context, noise, t)
    deployed = flow.velocity(context, noise, t)
    assert apart(asked[:, 0], deployed[:, 0]) < of_policy(flow)  # each draw has its own
    assert apart(asked[:, 1], deployed[:, 1]) > 1e-4
    fold_span(flow)
    assert apart(flow.velocity(context, noise, t), deployed) < of_policy(flow)
