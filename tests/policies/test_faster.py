"""The fast velocity against LeRobot's own, in every geometry; stored contexts against fresh ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from reflow.policies import CONTEXT, VISION, Batch, FlowPolicy, train_groups, with_velocity
from tests.builders import TOP, make_batch, make_policy
from tests.policies.test_smolvla import GEOMETRIES, draw
from tests.rounding import apart, of_gradient, of_velocity


@pytest.fixture
def build(vlm_folder: Path) -> Callable[..., FlowPolicy]:
    def build(**config: Any) -> FlowPolicy:
        return make_policy(vlm_folder, **config)

    return build


@pytest.fixture(params=GEOMETRIES)
def flow(request: pytest.FixtureRequest, build: Callable[..., FlowPolicy]) -> FlowPolicy:
    return build(**GEOMETRIES[request.param])


def tokens(context: Any) -> int:
    """Tokens of an encoded observation."""
    return context.pad_masks.shape[1]


def ragged(flow: FlowPolicy, size: int) -> Batch:
    """Observations whose tasks have different numbers of tokens."""
    batch = make_batch(flow, size)
    mask = batch["observation.language.attention_mask"].clone()
    mask[0, mask.shape[1] // 2 :] = False
    return {**batch, "observation.language.attention_mask": mask}


def test_the_shared_velocity_is_lerobots_own(flow: FlowPolicy) -> None:
    batch = ragged(flow, 3)
    x_t, t = draw(flow, 3, draws=4)
    with torch.no_grad():
        context = flow.encode(batch)
        stock = flow.velocity(context, x_t, t)
        shared = with_velocity(flow, "shared").velocity(context, x_t, t)
    assert shared.shape == stock.shape
    tolerance = of_velocity(flow, tokens(context))
    assert apart(shared, stock) < tolerance
    # what is compared depends on every input
    with torch.no_grad():
        for other in (
            flow.velocity(context, x_t + 0.1, t),
            flow.velocity(context, x_t, t / 2),
            flow.velocity(flow.encode(make_batch(flow, 3, seed=1)), x_t, t),
        ):
            assert apart(other, stock) > 100 * tolerance


def test_the_shared_gradient_is_lerobots_own(flow: FlowPolicy) -> None:
    train_groups(flow)
    batch = ragged(flow, 2)
    x_t, t = draw(flow, 2, draws=3)
    found = {}
    for way in ("stock", "shared"):
        flow.zero_grad()
        context = flow.encode(batch)
        with_velocity(flow, way).velocity(context, x_t, t).square().mean().backward()
        found[way] = {
            name: parameter.grad.clone()
            for name, parameter in flow.named_parameters()
            if parameter.grad is not None
        }
    assert found["stock"].keys() == found["shared"].keys()
    assert len(found["stock"]) > 8
    largest = max(gradient.abs().max() for gradient in found["stock"].values())
    tolerance = of_gradient(flow, tokens(context))
    for name, gradient in found["stock"].items():
        assert (found["shared"][name] - gradient).abs().max() < tolerance * largest, name


def test_the_prefix_is_projected_once_for_a_walk(build: Callable[..., FlowPolicy]) -> None:
    flow = with_velocity(build(), "shared")
    calls = []
    for layer in flow.policy.model.vlm_with_expert.lm_expert.layers:
        layer.self_attn.k_proj.register_forward_hook(lambda _, inputs, __: calls.append(inputs[0].ndim))
    noise, _ = draw(flow, 2, draws=3)
    with torch.no_grad():
        context = flow.encode(make_batch(flow, 2))
        calls.clear()
        flow.walk(context, noise, 5)
    # one cross-attention layer: once for [b, s, .]; one self-attention layer: each of 5 steps for [b, k, h, .]
    assert sorted(calls) == [3, 4, 4, 4, 4, 4]


def test_any_number_of_calls_may_share_a_context(build: Callable[..., FlowPolicy]) -> None:
    flow = with_velocity(build(), "shared")
    train_groups(flow)
    context = flow.encode(make_batch(flow, 2))
    before = [tensor.clone() for layer in context.layers for tensor in layer]
    x_t, t = draw(flow, 2, draws=2)
    first = flow.velocity(context, x_t, t)
    first.square().mean().backward()
    flow.velocity(context, x_t, t).square().mean().backward()
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, (tensor for layer in context.layers for tensor in layer), strict=True)
    )
    assert torch.equal(flow.velocity(context, x_t, t), first)


@pytest.mark.slow
def test_the_compiled_velocity_is_lerobots_own(build: Callable[..., FlowPolicy]) -> None:
    flow = build(self_attn_every_n_layers=2)
    train_groups(flow)
    context = flow.encode(ragged(flow, 2))
    x_t, t = draw(flow, 2, draws=2)
    gradients = {}
    velocities = {}
    for way in ("stock", "compiled"):
        flow.zero_grad()
        velocities[way] = with_velocity(flow, way).velocity(context, x_t, t)
        velocities[way].square().mean().backward()
        gradients[way] = torch.cat([p.grad.flatten() for p in flow.parameters() if p.grad is not None])
    assert apart(velocities["compiled"], velocities["stock"]) < of_velocity(flow, tokens(context))
    assert apart(gradients["compiled"], gradients["stock"]) < of_gradient(flow, tokens(context))


def test_autocast_leaves_the_state_in_float32_and_rounds_no_more_than_lerobot(
    build: Callable[..., FlowPolicy],
) -> None:
    flow = build()
    context = flow.encode(make_batch(flow, 2))
    x_t, t = draw(flow, 2, draws=2)
    away = {}
    with torch.no_grad():
        exact = flow.velocity(context, x_t, t)
        for way in ("stock", "shared"):
            asked = with_velocity(flow, way)
            with torch.autocast("cpu", torch.bfloat16):
                rounded = asked.velocity(context, x_t, t)
                seen_rounded = asked.encode(make_batch(flow, 2))
            assert rounded.dtype == torch.float32
            assert (asked.velocity(seen_rounded, x_t, t) - exact).norm() < 0.05 * exact.norm()
            away[way] = ((rounded - exact).norm() / exact.norm()).item()
    assert 0 < away["shared"] < 1.25 * away["stock"] < 0.05


def test_an_unknown_way_is_refused(build: Callable[..., FlowPolicy]) -> None:
    with pytest.raises(ValueError, match=r"velocity=fast; allowed .* smolvla: stock, shared, compiled"):
        with_velocity(build(), "fast")


def test_another_way_is_another_view_of_the_same_policy(build: Callable[..., FlowPolicy]) -> None:
    flow = build()
    assert flow.velocity_way == "stock"
    assert with_velocity(flow, "stock") is flow
    shared = with_velocity(flow, None)
    assert shared.velocity_way == "shared"
    assert shared.policy is flow.policy
    assert (shared.training, flow.train().training, with_velocity(flow, None).training) == (False, True, True)
    assert dict(shared.named_parameters()).keys() == dict(flow.named_parameters()).keys()


def test_a_stored_context_or_vision_is_the_fresh_one(flow: FlowPolicy) -> None:
    batch = ragged(flow, 3)
    blind = {key: value for key, value in batch.items() if "images" not in key}
    x_t, t = draw(flow, 3, draws=2)
    with torch.no_grad():
        context = flow.encode(batch)
        fresh = flow.velocity(context, x_t, t)
        vision, packed = flow.vision_features(batch), flow.pack(context)
        assert all(len(tensor) == 3 for tensor in (*vision.values(), *packed.values()))
        assert torch.equal(flow.velocity(flow.encode({**blind, VISION: vision}), x_t, t), fresh)
        assert torch.equal(flow.velocity(flow.encode({CONTEXT: packed}), x_t, t), fresh)
    with pytest.raises((KeyError, ValueError), match="image"):
        flow.encode(blind)


@pytest.mark.parametrize("way", ["stock", "shared"])
def test_zeros_appended_to_a_stored_context_change_nothing(
    build: Callable[..., FlowPolicy], way: str
) -> None:
    flow = with_velocity(build(), way)
    x_t, t = draw(flow, 2, draws=2)
    with torch.no_grad():
        context = flow.encode(make_batch(flow, 2))
        longer = {
            name: torch.cat([tensor, torch.zeros_like(tensor[:, :5])], 1)
            for name, tensor in flow.pack(context).items()
        }
        found, expected = flow.velocity(flow.unpack(longer), x_t, t), flow.velocity(context, x_t, t)
    assert apart(found, expected) < of_velocity(flow, tokens(context) + 5)


def test_sixteen_bits_are_enough_for_a_stored_context(build: Callable[..., FlowPolicy]) -> None:
    flow = build(cameras=(TOP,))
    x_t, t = draw(flow, 2)
    with torch.no_grad():
        context = flow.encode(make_batch(flow, 2))
        exact = flow.velocity(context, x_t, t)
        packed = {
            name: tensor.to(torch.bfloat16) if tensor.is_floating_point() else tensor
            for name, tensor in flow.pack(context).items()
        }
        rounded = flow.velocity(flow.unpack(packed), x_t, t)
    assert rounded.dtype == torch.float32
    assert 0 < apart(rounded, exact) < 0.02
