"""Padding rules: properties for every pair of widths, and errors."""

import itertools
from typing import Any, get_args

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from reflow.flow import ActionSpace, Extent, PaddingRule

EXTENTS = get_args(Extent)


@st.composite
def spaces(draw: st.DrawFn) -> ActionSpace:
    native = draw(st.integers(1, 40))
    return ActionSpace(draw(st.integers(1, native)), native, chunk_size=draw(st.integers(1, 5)))


@st.composite
def rules(draw: st.DrawFn, **fixed: Any) -> PaddingRule:
    answers = {
        field: fixed.get(field) or draw(st.sampled_from(EXTENTS))
        for field in ("noise_dims", "target_dims", "loss_dims")
    }
    return PaddingRule(draw(spaces()), **answers)


def _chunk(space: ActionSpace, *lead: int) -> Tensor:
    # No zeros, and what a mask by multiplication would turn to nan.
    x = 1.0 + torch.rand(*lead, space.chunk_size, space.max_action_dim, dtype=torch.float64)
    x[..., -1] = float("inf")
    return x


properties = settings(max_examples=60, deadline=None)


@properties
@given(spaces(), st.lists(st.integers(1, 3), max_size=2))
def test_real_and_padding_split_the_width(space: ActionSpace, lead: list[int]) -> None:
    x = _chunk(space, *lead)
    real, padding = space.real(x), space.padding(x)
    assert real.shape == (*lead, space.chunk_size, space.action_dim)
    assert padding.shape == (*lead, space.chunk_size, space.padding_dim)
    assert torch.equal(torch.cat([real, padding], dim=-1), x)


@properties
@given(rules(), st.sampled_from(["noise", "target"]))
def test_real_dimensions_are_untouched_and_padding_is_zero_or_itself(rule: PaddingRule, name: str) -> None:
    x = _chunk(rule.space, 2)
    y = getattr(rule, name)(x)
    assert y.shape == x.shape
    assert y.dtype == x.dtype
    assert torch.equal(rule.space.real(y), rule.space.real(x))
    if getattr(rule, f"{name}_dims") == "full":
        assert torch.equal(y, x)
    else:
        assert torch.count_nonzero(rule.space.padding(y)) == 0


@properties
@given(rules(), st.sampled_from(["noise", "target"]))
def test_applying_a_rule_twice_is_applying_it_once(rule: PaddingRule, name: str) -> None:
    once = getattr(rule, name)(_chunk(rule.space, 2))
    assert torch.equal(getattr(rule, name)(once), once)


@properties
@given(rules())
def test_loss_keeps_the_dimensions_that_count(rule: PaddingRule) -> None:
    x = _chunk(rule.space, 2)
    expected = x if rule.loss_dims == "full" else rule.space.real(x)
    assert torch.equal(rule.loss(x), expected)


@properties
@given(rules(), st.sampled_from(["noise", "target", "loss"]))
def test_nothing_is_changed_in_place(rule: PaddingRule, name: str) -> None:
    x = _chunk(rule.space, 2)
    before = x.clone()
    getattr(rule, name)(x)
    assert torch.equal(x, before)


@properties
@given(st.integers(1, 40))
def test_without_padding_all_rules_agree(width: int) -> None:
    space = ActionSpace(width, width, chunk_size=3)
    x = _chunk(space, 2)
    for answers in itertools.product(EXTENTS, repeat=3):
        rule = PaddingRule(space, *answers)
        assert torch.equal(rule.noise(x), x)
        assert torch.equal(rule.target(x), x)
        assert torch.equal(rule.loss(x), x)


@properties
@given(rules(noise_dims="full", target_dims="full", loss_dims="full"))
def test_full_is_the_identity(rule: PaddingRule) -> None:
    x = _chunk(rule.space)
    assert torch.equal(rule.noise(x), x)
    assert torch.equal(rule.target(x), x)
    assert torch.equal(rule.loss(x), x)


def test_each_question_has_its_own_answer() -> None:
    space = ActionSpace(2, 3, chunk_size=1)
    x = torch.tensor([[1.0, 2.0, 3.0]])
    cut = torch.tensor([[1.0, 2.0, 0.0]])
    for noise, target, loss in itertools.product(EXTENTS, repeat=3):
        rule = PaddingRule(space, noise_dims=noise, target_dims=target, loss_dims=loss)
        assert torch.equal(rule.noise(x), x if noise == "full" else cut)
        assert torch.equal(rule.target(x), x if target == "full" else cut)
        assert rule.loss(x).shape[-1] == (3 if loss == "full" else 2)


def test_default_is_the_founding_script() -> None:
    rule = PaddingRule(ActionSpace(14, 32, chunk_size=50))
    assert (rule.noise_dims, rule.target_dims, rule.loss_dims) == ("real", "real", "real")


def test_gradient_reaches_the_real_dimensions_only() -> None:
    rule = PaddingRule(ActionSpace(2, 4, chunk_size=1))
    x = torch.ones(1, 4, requires_grad=True)
    rule.target(x).sum().backward()
    assert torch.equal(x.grad, torch.tensor([[1.0, 1.0, 0.0, 0.0]]))


def test_error_for_a_robot_wider_than_the_policy() -> None:
    message = r"action_dim 38 exceeds max_action_dim 32 of this policy; allowed: 1 to 32; check"
    with pytest.raises(ValueError, match=message):
        ActionSpace(38, 32, chunk_size=50)


@pytest.mark.parametrize("field", ["action_dim", "max_action_dim", "chunk_size"])
@pytest.mark.parametrize("value", [0, -3])
def test_error_for_a_size_below_one(field: str, value: int) -> None:
    sizes = {"action_dim": 14, "max_action_dim": 32, "chunk_size": 50, field: value}
    with pytest.raises(ValueError, match=rf"^{field} is {value}; allowed: 1 or more"):
        ActionSpace(**sizes)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("field", ["noise_dims", "target_dims", "loss_dims"])
def test_error_for_an_unknown_answer(field: str) -> None:
    with pytest.raises(ValueError, match=rf"{field} is 'half'; allowed: 'real' .* or 'full'"):
        PaddingRule(ActionSpace(14, 32, chunk_size=50), **{field: "half"})


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("name", ["noise", "target", "loss"])
@pytest.mark.parametrize("answer", EXTENTS)
@pytest.mark.parametrize("shape", [(50, 14), (50, 33), ()])
def test_error_for_another_width(name: str, answer: Extent, shape: tuple[int, ...]) -> None:
    rule = PaddingRule(ActionSpace(14, 32, chunk_size=50), answer, answer, answer)
    with pytest.raises(ValueError, match=r"x has shape .*; allowed: last dimension 32 \(max_action_dim\)"):
        getattr(rule, name)(torch.zeros(shape))
