"""The velocity loss: closed forms, LeRobot's bits, gradients, errors."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from reflow.flow import ActionSpace, PaddingRule, velocity_loss

REAL = PaddingRule(ActionSpace(14, 32, chunk_size=50), loss_dims="real")
FULL = PaddingRule(ActionSpace(14, 32, chunk_size=50), loss_dims="full")


def _pair(*lead: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    v_t = torch.randn(*lead, 50, 32, generator=generator, dtype=dtype)
    return v_t, torch.randn(*lead, 50, 32, generator=generator, dtype=dtype)


def test_known_value() -> None:
    rule = PaddingRule(ActionSpace(2, 3, chunk_size=1))
    v_t, u_t = torch.tensor([[[1.0, 2.0, 9.0]]]), torch.tensor([[[0.0, 4.0, 0.0]]])
    assert velocity_loss(v_t, u_t, rule).item() == (1 + 4) / 2
    full = PaddingRule(ActionSpace(2, 3, chunk_size=1), loss_dims="full")
    assert velocity_loss(v_t, u_t, full).item() == pytest.approx((1 + 4 + 81) / 3)


@pytest.mark.parametrize(("rule", "width"), [(REAL, 14), (FULL, 32)])
def test_equals_the_loss_and_gradient_of_lerobot_to_the_last_bit(rule: PaddingRule, width: int) -> None:
    v_t, u_t = _pair(8)
    ours, theirs = v_t.clone().requires_grad_(), v_t.clone().requires_grad_()
    loss = velocity_loss(ours, u_t, rule)
    stock = F.mse_loss(u_t, theirs, reduction="none")[:, :, :width].mean()
    loss.backward()
    stock.backward()
    assert torch.equal(loss, stock)
    assert torch.equal(ours.grad, theirs.grad)


@pytest.mark.parametrize("rule", [REAL, FULL])
@pytest.mark.parametrize("lead", [(), (4,), (4, 3)])
def test_none_is_one_number_per_chunk_and_their_mean_is_the_mean(
    rule: PaddingRule, lead: tuple[int, ...]
) -> None:
    v_t, u_t = _pair(*lead, dtype=torch.float64)
    each = velocity_loss(v_t, u_t, rule, reduction="none")
    assert each.shape == lead
    torch.testing.assert_close(each.mean(), velocity_loss(v_t, u_t, rule), rtol=1e-13, atol=0)
    if lead:
        torch.testing.assert_close(each[0], velocity_loss(v_t[0], u_t[0], rule, "none"), rtol=1e-13, atol=0)


def test_padding_has_a_gradient_only_when_it_counts() -> None:
    for rule, counts in ((REAL, False), (FULL, True)):
        v_t, u_t = _pair(2)
        v_t.requires_grad_()
        velocity_loss(v_t, u_t, rule).backward()
        assert v_t.grad is not None
        assert bool(rule.space.padding(v_t.grad).abs().sum() > 0) == counts
        assert rule.space.real(v_t.grad).abs().sum() > 0


@pytest.mark.usefixtures("as_users_run")
class TestErrors:
    def test_shapes_that_would_broadcast(self) -> None:
        v_t, u_t = _pair(2)
        with pytest.raises(
            ValueError, match=r"v_t has shape \(2, 50, 32\), u_t \(1, 50, 32\); they must be equal"
        ):
            velocity_loss(v_t, u_t[:1], REAL)

    def test_real_width(self) -> None:
        v_t, u_t = _pair(2)
        with pytest.raises(ValueError, match=r"allowed: last dimension 32 \(max_action_dim\)"):
            velocity_loss(v_t[..., :14], u_t[..., :14], FULL)

    def test_unknown_reduction(self) -> None:
        with pytest.raises(ValueError, match=r"reduction is 'sum'; allowed: 'mean' .* or 'none'"):
            velocity_loss(*_pair(2), REAL, reduction="sum")  # type: ignore[arg-type]


def test_time_steps_past_the_episode_s_end_do_not_count() -> None:
    generator = torch.Generator().manual_seed(0)
    v_t = torch.randn(3, 2, 5, 32, generator=generator, dtype=torch.float64)
    u_t = torch.zeros_like(v_t)
    lengths = torch.tensor([5, 2, 0])
    inside = (torch.arange(5) < lengths[:, None])[:, None, :, None]
    error = v_t[..., :14].square()
    kept = torch.cat([error[0].flatten(), error[1, :, :2].flatten()])
    loss = velocity_loss(v_t, u_t, REAL, inside=inside)
    torch.testing.assert_close(loss, kept.mean(), rtol=1e-12, atol=0)
    each = velocity_loss(v_t, u_t, REAL, "none", inside)
    torch.testing.assert_close(each[0], error[0].mean((1, 2)), rtol=1e-12, atol=0)
    torch.testing.assert_close(each[1], error[1, :, :2].mean((1, 2)), rtol=1e-12, atol=0)
    assert torch.equal(each[2], torch.zeros(2, dtype=torch.float64))  # none of its steps counts
    everything = velocity_loss(v_t, u_t, REAL, inside=torch.ones_like(inside))
    torch.testing.assert_close(everything, velocity_loss(v_t, u_t, REAL), rtol=1e-12, atol=0)
