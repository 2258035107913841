"""The profile: which time falls into which bin, and what it says when asked wrongly."""

import pytest
import torch

from reflow.flow import ActionSpace, PaddingRule, velocity_loss
from reflow.metrics import VelocityErrorProfile, VelocityLoss

SPACE = ActionSpace(1, 2, chunk_size=3)


def _bins_hit(bins: int, t: torch.Tensor) -> list[int]:
    profile = VelocityErrorProfile(bins, SPACE)
    zeros = torch.zeros(*t.shape, 3, 2)
    profile.update(zeros, zeros, t)
    return profile.count.tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bins", [1, 3, 7, 10, 20, 49, 100])
def test_a_grid_puts_one_time_into_each_bin(bins: int, dtype: torch.dtype) -> None:
    for grid in (torch.arange(bins, dtype=dtype) / bins, 1 - torch.arange(1, bins + 1, dtype=dtype) / bins):
        assert _bins_hit(bins, grid) == [1] * bins


def test_the_ends_belong_to_the_outer_bins() -> None:
    assert _bins_hit(4, torch.tensor([0.0, 1.0])) == [1, 0, 0, 1]


def test_well_below_an_edge_is_below() -> None:
    assert _bins_hit(2, torch.tensor([0.4999, 0.5])) == [1, 1]


def test_empty_bins_are_nan_and_others_are_not() -> None:
    profile = VelocityErrorProfile(3, SPACE)
    profile.update(torch.ones(2, 3, 2), torch.zeros(2, 3, 2), torch.tensor([0.0, 0.9]))
    assert profile.compute().isnan().all(dim=1).tolist() == [False, True, False]


def test_its_real_columns_average_to_the_loss() -> None:
    generator = torch.Generator().manual_seed(0)
    v_t, u_t = torch.randn(2, 40, 3, 2, generator=generator, dtype=torch.float64)
    t = torch.arange(40, dtype=torch.float64) / 40  # equally many in each bin
    profile, loss = VelocityErrorProfile(4, SPACE), VelocityLoss(SPACE)
    profile.update(v_t, u_t, t)
    loss.update(v_t, u_t)
    torch.testing.assert_close(SPACE.real(profile.compute()).mean(), loss.compute())
    torch.testing.assert_close(loss.compute(), velocity_loss(v_t, u_t, PaddingRule(SPACE)))


def test_by_step_tells_steps_apart_and_leaves_padding_out() -> None:
    profile = VelocityErrorProfile(2, SPACE)
    error = torch.zeros(4, 3, 2)
    error[..., 0] = torch.tensor([1.0, 2.0, 3.0])  # by step, on the real dimension
    error[..., 1] = 100.0
    profile.update(error, torch.zeros(4, 3, 2), torch.tensor([0.6, 0.7, 0.8, 0.9]))
    by_step = profile.by_step()
    assert by_step[1].tolist() == [1.0, 4.0, 9.0]
    assert by_step[0].isnan().all()


def test_steps_and_real_dimensions_average_to_the_same() -> None:
    space = ActionSpace(2, 5, chunk_size=3)
    v_t, u_t = torch.randn(2, 40, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    profile = VelocityErrorProfile(4, space)
    for part in torch.arange(40).split(7):
        profile.update(v_t[part], u_t[part], torch.arange(40, dtype=torch.float64)[part] / 40)
    torch.testing.assert_close(profile.by_step().mean(dim=1), space.real(profile.compute()).mean(dim=1))


def test_errors(as_users_run: None) -> None:
    with pytest.raises(ValueError, match="bins is 0; allowed: 1 or more"):
        VelocityErrorProfile(0, SPACE)
    profile, x = VelocityErrorProfile(2, SPACE), torch.zeros(4, 3, 2)
    with pytest.raises(ValueError, match=r"t has shape \(1,\); allowed: \(4,\)"):
        profile.update(x, x, torch.zeros(1))
    with pytest.raises(ValueError, match=r"allowed: 3 steps \(chunk_size\)"):
        profile.update(torch.zeros(4, 2, 2), torch.zeros(4, 2, 2), torch.zeros(4))
    for wrong in (-0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match=r"t reaches from .*; allowed: 0 "):
            profile.update(x, x, torch.tensor([0.0, 0.5, 1.0, wrong]))
