"""The adapter against stock LeRobot: the same velocity, loss, gradient and chunk, to the last bit in float32.

Training in LeRobot attends from prefix and suffix together, the adapter from the suffix alone: other shapes, and
the same bits only where a matrix product's rows do not depend on their number. That is asked of the machine; where it
does not hold, the bound of :mod:`tests.rounding` does. In inference the shapes are the same, and so are the bits.
"""

import weakref
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import straight_path
from reflow.policies import Batch, FlowPolicy, encodes_with_gradient, prefix_parameters, train_groups
from reflow.policies.smolvla import SmolVLAFlow
from tests.builders import TOP, make_batch, make_policy
from tests.rounding import apart, of_endpoint, of_gradient, of_velocity, rows_keep_their_bits

GEOMETRIES: dict[str, dict[str, Any]] = {
    "14 joints": {},
    "other robot": {"action_dim": 6, "state_dim": 7, "chunk_size": 5},
    "no padding": {"action_dim": 32},
    "two cameras": {"cameras": (TOP, "observation.images.wrist")},
    "empty camera": {"empty_cameras": 1},
    "image tokens": {"add_image_special_tokens": True},
    "long prefix": {"prefix_length": 40},
    "self attention": {"attention_mode": "self_attn"},
    "cross attention": {"self_attn_every_n_layers": -1},
    "half the experts": {"num_expert_layers": 1},
    "seeing trained": {"freeze_vision_encoder": False, "train_expert_only": False},
}


@pytest.fixture
def build(vlm_folder: Path) -> Callable[..., FlowPolicy]:
    def build(**config: Any) -> FlowPolicy:
        return make_policy(vlm_folder, **config)

    return build


@pytest.fixture(params=GEOMETRIES)
def flow(request: pytest.FixtureRequest, build: Callable[..., FlowPolicy]) -> FlowPolicy:
    return build(**GEOMETRIES[request.param])


def draw(flow: FlowPolicy, size: int, draws: int = 1, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Noise ``[b, k, h, d]`` and times ``[b, k]``."""
    generator = torch.Generator().manual_seed(seed)
    space = flow.space
    noise = torch.randn(size, draws, space.chunk_size, space.max_action_dim, generator=generator)
    return noise, torch.rand(size, draws, generator=generator)


@dataclass(frozen=True)
class Step:
    """What one training forward and backward gave."""

    v_t: Tensor
    loss: Tensor
    gradients: dict[str, Tensor]


def take_gradients(flow: FlowPolicy, loss: Tensor) -> dict[str, Tensor]:
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in flow.named_parameters() if p.grad is not None}
    flow.zero_grad(set_to_none=True)
    return gradients


def stock_step(flow: FlowPolicy, batch: Batch, noise: Tensor, t: Tensor) -> Step:
    """One step as LeRobot trains; the velocity is caught at the output projection."""
    seen: list[Tensor] = []
    projection = flow.policy.model.action_out_proj
    handle = projection.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    loss, _ = flow.policy.forward(dict(batch), noise[:, 0], t[:, 0])
    handle.remove()
    return Step(seen[0], loss.detach(), take_gradients(flow, loss))


def our_step(flow: FlowPolicy, batch: Batch, noise: Tensor, t: Tensor) -> Step:
    """The same from ``encode`` and ``velocity``; LeRobot's loss is the mean over real dimensions."""
    action = F.pad(batch["action"], (0, flow.space.padding_dim))[:, None]
    point = straight_path(noise, action, t)
    v_t = flow.velocity(flow.encode(batch), point.x_t, t)
    loss = flow.space.real(F.mse_loss(point.u_t, v_t, reduction="none")).mean()
    return Step(v_t[:, 0].detach(), loss.detach(), take_gradients(flow, loss))


@pytest.mark.parametrize("train_state_proj", [False, True])
def test_velocity_loss_and_gradient_are_those_of_stock_training(flow, train_state_proj):
    train_groups(flow, ("velocity", "state_proj") if train_state_proj else ("velocity",))
    batch = make_batch(flow, 3, with_actions=True)
    del batch["action_is_pad"]
    noise, t = draw(flow, 3)
    expected, got = stock_step(flow, batch, noise, t), our_step(flow, batch, noise, t)
    with torch.no_grad():
        prefix_length = flow.encode(batch).pad_masks.shape[1]
    chunk = flow.space.chunk_size
    head = flow.policy.model.vlm_with_expert.lm_expert.layers[-1].self_attn.head_dim
    exact = rows_keep_their_bits(prefix_length + chunk, chunk, head, prefix_length + chunk)
    tolerance = of_gradient(flow, prefix_length)

    def same(got: Tensor, expected: Tensor) -> bool:
        return torch.equal(got, expected) if exact else apart(got, expected) < tolerance

    assert same(got.v_t, expected.v_t)
    assert same(got.loss, expected.loss)
    assert got.gradients.keys() == expected.gradients.keys() >= {"policy.model.action_in_proj.weight"}
    assert ("policy.model.state_proj.weight" in got.gradients) == train_state_proj
    prefix = dict(prefix_parameters(flow).items())
    for name, gradient in got.gradients.items():
        if name in prefix:  # it comes back from two passes instead of one and adds up in another order
            assert apart(gradient, expected.gradients[name]) < tolerance, name
        else:
            assert same(gradient, expected.gradients[name]), name


@pytest.mark.parametrize("num_steps", [1, 3, 10])
def test_walk_is_stock_inference(flow, num_steps):
    batch = make_batch(flow, 2)
    noise, _ = draw(flow, 2)
    flow.num_steps = num_steps
    policy = flow.policy
    images, masks = policy.prepare_images(batch)
    tokens, attention = batch["observation.language.tokens"], batch["observation.language.attention_mask"]
    with torch.no_grad():
        endpoint = flow.walk(flow.encode(batch), noise)[:, 0]
        full = policy.model.sample_actions(
            images, masks, tokens, attention, policy.prepare_state(batch), noise=noise[:, 0]
        )
    assert torch.equal(endpoint, full)
    chunk = policy.predict_action_chunk(dict(batch), noise=noise[:, 0])
    assert torch.equal(flow.space.real(endpoint), chunk)


def test_walk_takes_the_steps_it_is_told(build):
    flow = build()
    batch, (noise, _) = make_batch(flow, 2), draw(build(), 2)
    with torch.no_grad():
        context = flow.encode(batch)
        three = flow.walk(context, noise, num_steps=3)
        assert not torch.equal(three, flow.walk(context, noise))
        flow.num_steps = 3
        assert torch.equal(three, flow.walk(context, noise))
        assert flow.policy.config.num_steps == 3
        with pytest.raises(ValueError, match="num_steps is 0"):
            flow.walk(context, noise, num_steps=0)


def test_everything_observed_moves_the_velocity(build):
    """Otherwise the equalities above would hold for an adapter that forgets to look."""
    flow = build()
    batch, other = make_batch(flow, 2), make_batch(flow, 2, seed=1)
    x_t, t = draw(flow, 2)
    with torch.no_grad():
        before = flow.velocity(flow.encode(batch), x_t, t)
        for key in batch:
            after = flow.velocity(flow.encode(batch | {key: other[key]}), x_t, t)
            assert (after - before).abs().max() > 1e-3, key
        assert (flow.velocity(flow.encode(batch), x_t, t / 2) - before).abs().max() > 1e-3


class Saved:
    """A tensor that an autograd graph holds on to."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


@pytest.mark.parametrize("draws", [1, 3])
def test_any_number_of_gradient_calls_share_a_context(build, draws):
    flow = build()
    train_groups(flow)
    context, fresh = (flow.encode(make_batch(flow, 2)) for _ in range(2))
    x_t, t = draw(flow, 2, draws)

    def gradient(context: Any) -> dict[str, Tensor]:
        return take_gradients(flow, flow.velocity(context, x_t, t).square().sum())

    expected = gradient(fresh)
    for _ in range(3):
        for name, value in gradient(context).items():
            assert torch.equal(value, expected[name]), name
    # Two graphs on one context at once, and the first one walked back last.
    one, two = (flow.velocity(context, x_t, t).square().sum() for _ in range(2))
    two.backward()
    one.backward()


@pytest.mark.parametrize("draws", [1, 3])
def test_the_graph_of_a_call_dies_with_its_result(build, draws):
    """Were it to live on in the context, every training step would keep the memory of the last."""
    flow = build()
    train_groups(flow)
    context = flow.encode(make_batch(flow, 2))
    x_t, t = draw(flow, 2, draws)
    alive: weakref.WeakSet[Saved] = weakref.WeakSet()

    def pack(tensor: Tensor) -> Saved:
        saved = Saved(tensor.detach())
        alive.add(saved)
        return saved

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda saved: saved.tensor):
        v_t = flow.velocity(context, x_t, t)
    assert len(alive) > 20
    del v_t
    assert len(alive) == 0


@pytest.mark.parametrize("draws", [1, 3])
def test_a_context_stays_as_it_was(build, draws):
    flow = build()
    train_groups(flow)
    context = flow.encode(make_batch(flow, 2))
    before = [tensor.clone() for layer in context.layers for tensor in layer]
    mask = context.pad_masks.clone()
    x_t, t = draw(flow, 2, draws)
    flow.velocity(context, x_t, t).sum().backward()
    with torch.no_grad():
        flow.walk(context, x_t)
    assert torch.equal(context.pad_masks, mask)
    after = [tensor for layer in context.layers for tensor in layer]
    assert not any(tensor.requires_grad for tensor in after)
    for got, expected in zip(after, before, strict=True):
        assert torch.equal(got, expected)
    assert context.cache().get_seq_length() == mask.shape[1]  # the length of the prefix, however often asked


def test_noise_is_never_changed_in_place(build):
    flow = build()
    context = flow.encode(make_batch(flow, 2))
    noise, t = draw(flow, 2, 2)
    kept, kept_t = noise.clone(), t.clone()
    with torch.no_grad():
        flow.walk(context, noise)
        flow.walk(context, noise, num_steps=1)
    flow.velocity(context, noise, t).sum().backward()
    assert torch.equal(noise, kept)
    assert torch.equal(t, kept_t)


@pytest.mark.parametrize("geometry", ["14 joints", "other robot"])
def test_draws_on_one_prefix_equal_separate_calls(build, geometry):
    """Not exactly: a product over more rows may add up in another order."""
    flow = build(**GEOMETRIES[geometry])
    context = flow.encode(make_batch(flow, 3))
    noise, t = draw(flow, 3, 4)
    prefix = context.pad_masks.shape[1]
    with torch.no_grad():
        v_t, endpoint = flow.velocity(context, noise, t), flow.walk(context, noise)
        for k in range(4):
            one = slice(k, k + 1)
            alone = flow.velocity(context, noise[:, one], t[:, one])
            assert apart(v_t[:, one], alone) < of_velocity(flow, prefix)
            end = flow.walk(context, noise[:, one])
            assert apart(endpoint[:, one], end) < of_endpoint(flow, prefix, flow.num_steps)
    assert (v_t[:, 0] - v_t[:, 1]).abs().max() > 0.1


@pytest.mark.parametrize("adapt_to_pi_aloha", [False, True])
def test_encode_leaves_the_batch_alone(build, adapt_to_pi_aloha):
    flow = build(adapt_to_pi_aloha=adapt_to_pi_aloha)
    batch = make_batch(flow, 2)
    kept = {key: value.clone() for key, value in batch.items()}
    first, second = flow.encode(batch), flow.encode(batch)
    assert batch.keys() == kept.keys()
    for key, value in batch.items():
        assert torch.equal(value, kept[key]), key
    assert torch.equal(first.layers[-1][0], second.layers[-1][0])


def test_the_aloha_conversion_is_stock(build):
    flow = build(adapt_to_pi_aloha=True)
    batch, (noise, _) = make_batch(flow, 2), draw(flow, 2)
    with torch.no_grad():
        endpoint = flow.space.real(flow.walk(flow.encode(batch), noise)[:, 0])
    own = {**batch, "observation.state": batch["observation.state"].clone()}
    chunk = flow.policy.predict_action_chunk(own, noise=noise[:, 0])
    assert torch.equal(flow.policy._pi_aloha_encode_actions(endpoint.clone()), chunk)
    assert torch.isfinite(chunk).all()
    assert not torch.equal(endpoint, chunk)


def test_the_target_of_an_action_is_where_stock_training_sends_the_flow(build):
    """``x_t`` at t=0, caught inside LeRobot's own training forward, is the action as its network is to give it."""
    for adapt in (False, True):
        flow = build(adapt_to_pi_aloha=adapt)
        batch, (noise, _) = make_batch(flow, 2, with_actions=True), draw(flow, 2)
        kept = batch["action"].clone()
        x_t = flow.stock_forward(batch, noise[:, 0], torch.zeros(2)).x_t
        target = flow.target(batch["action"])
        assert torch.equal(target, flow.space.real(x_t))
        assert torch.equal(target, kept) != adapt
        assert torch.equal(batch["action"], kept)
        torch.testing.assert_close(flow.output(F.pad(target, (0, flow.space.padding_dim))), kept)
        assert torch.equal(flow.target(kept[:, None])[:, 0], target)


@pytest.mark.parametrize("widths", [{"action_dim": 6, "state_dim": 14}, {"action_dim": 14, "state_dim": 7}])
def test_refuses_the_aloha_conversion_for_fewer_joints(build, widths):
    said = r"adapt_to_pi_aloha=True.*{state_dim} values of state and {action_dim} of action.*14 joints.*false"
    with pytest.raises(UserError, match=said.format(**widths)):
        build(adapt_to_pi_aloha=True, **widths)


def test_sizes_and_steps_are_the_configuration_s(build):
    flow = build(action_dim=6, state_dim=7, chunk_size=5, max_action_dim=16, num_steps=4)
    space = flow.space
    assert (space.action_dim, space.max_action_dim, space.chunk_size) == (6, 16, 5)
    assert flow.num_steps == 4


def test_refuses_a_policy_without_cache(build):
    with pytest.raises(ValueError, match=r"use_cache=False in the policy's config.json.*set it to true"):
        build(use_cache=False)


def test_the_state_projection_learns_when_asked(build):
    flow = build()
    assert isinstance(flow, SmolVLAFlow)
    x_t, t = draw(flow, 2)
    batch = make_batch(flow, 2)
    for asked in (False, True):
        train_groups(flow, ("velocity", "state_proj") if asked else ("velocity",))
        assert encodes_with_gradient(flow) is asked
        assert flow.encode(batch).layers[-1][0].requires_grad is asked
        gradients = take_gradients(flow, flow.velocity(flow.encode(batch), x_t, t).square().sum())
        assert ("policy.model.state_proj.weight" in gradients) is asked
    assert (
        gradients["policy.model.state_proj.weight"][:, : batch["observation.state"].shape[1]].abs().max() > 0
    )
    with torch.no_grad():
        assert not flow.encode(batch).layers[-1][0].requires_grad
