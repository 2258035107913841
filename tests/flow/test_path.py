"""The straight path: ends, derivative, LeRobot's bits, errors."""

import pytest
import torch

from reflow.flow import straight_path


def _ends(*shape: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator, dtype=dtype), torch.randn(
        shape, generator=generator, dtype=dtype
    )


def test_time_one_is_noise_and_time_zero_is_action() -> None:
    noise, action = _ends(3, 4, 5)
    ends = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    x_t = straight_path(noise, action, ends).x_t
    assert torch.equal(x_t, torch.stack([noise[0], action[1], noise[2]]))


def test_velocity_is_the_derivative_of_the_point() -> None:
    noise, action = _ends(4, 3, 2)
    t = torch.linspace(0.1, 0.6, 4, dtype=torch.float64)
    here, later = straight_path(noise, action, t), straight_path(noise, action, t + 0.25)
    torch.testing.assert_close((later.x_t - here.x_t) / 0.25, here.u_t, rtol=0, atol=1e-14)
    assert torch.equal(later.u_t, here.u_t)


@pytest.mark.parametrize("lead", [(), (2,), (2, 3)])
def test_time_has_any_number_of_leading_dimensions(lead: tuple[int, ...]) -> None:
    noise, action = _ends(2, 3, 4, 5)
    t = torch.rand(lead, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    expected = t.reshape(*lead, *[1] * (4 - len(lead))).expand(noise.shape)
    sample = straight_path(noise, action, t)
    assert torch.equal(sample.x_t, expected * noise + (1 - expected) * action)


def test_equals_the_training_forward_of_lerobot_to_the_last_bit() -> None:
    noise, actions = _ends(8, 50, 32, dtype=torch.float32)
    time = torch.rand(8, generator=torch.Generator().manual_seed(2))
    time_expanded = time[:, None, None]
    sample = straight_path(noise, actions, time)
    assert torch.equal(sample.x_t, time_expanded * noise + (1 - time_expanded) * actions)
    assert torch.equal(sample.u_t, noise - actions)


def test_changes_nothing_in_place() -> None:
    noise, action = _ends(2, 3, 4)
    t = torch.tensor([0.25, 0.75], dtype=torch.float64)
    before = noise.clone(), action.clone(), t.clone()
    straight_path(noise, action, t)
    assert all(torch.equal(x, y) for x, y in zip((noise, action, t), before, strict=True))


@pytest.mark.usefixtures("as_users_run")
class TestErrors:
    def test_action_of_another_shape(self) -> None:
        with pytest.raises(ValueError, match=r"action has shape \(2, 1, 4\), noise \(2, 3, 4\); .* expand"):
            straight_path(torch.zeros(2, 3, 4), torch.zeros(2, 1, 4), torch.ones(2))

    @pytest.mark.parametrize("shape", [(3,), (2, 1), (2, 3, 4, 1)])
    def test_time_that_is_not_a_leading_shape(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match=r"t has shape .*; allowed: the leading dimensions"):
            straight_path(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), torch.ones(shape))

    @pytest.mark.parametrize(
        ("noise", "action", "t"),
        [
            (torch.float32, torch.float64, torch.float32),
            (torch.float32, torch.float32, torch.float64),
            (torch.bfloat16, torch.bfloat16, torch.float32),
        ],
    )
    def test_silent_change_of_dtype(self, noise: torch.dtype, action: torch.dtype, t: torch.dtype) -> None:
        x = torch.zeros(2, 3, 4)
        with pytest.raises(ValueError, match=r"dtypes differ: noise .*; x_t must keep the dtype of noise"):
            straight_path(x.to(noise), x.to(action), torch.ones(2, dtype=t))
