"""What a velocity error can be compared with: closed forms and Monte Carlo."""

import numpy as np
import pytest
import torch

from reflow.doctor.floor import endpoint_variance, guess_alone, path_cosines


@pytest.mark.parametrize("t", [0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("variance", [0.01, 0.5, 2.0])
def test_guessing_alone_is_the_residual_of_a_linear_fit(t: float, variance: float) -> None:
    rng = np.random.default_rng(0)
    noise, action = rng.normal(size=200_000), 0.7 + variance**0.5 * rng.normal(size=200_000)
    x_t, u_t = t * noise + (1 - t) * action, noise - action
    slope, intercept = np.polyfit(x_t, u_t, 1)
    residual = np.mean((u_t - slope * x_t - intercept) ** 2)
    assert guess_alone(torch.tensor(variance, dtype=torch.float64), t).item() == pytest.approx(
        residual, rel=0.02
    )


def test_at_noise_it_is_the_variance_of_the_endpoint() -> None:
    variance = torch.tensor([0.0, 0.3, 4.0])
    assert torch.equal(guess_alone(variance, 1.0), variance)


def test_the_variance_is_that_over_noises_of_one_observation() -> None:
    endpoint = torch.zeros(2, 3, 1, 2)
    endpoint[0] += 100.0  # another observation is no variance
    endpoint[:, :, 0, 0] += torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(endpoint_variance(endpoint), torch.tensor([[1.0, 0.0]], dtype=torch.float64))
    assert endpoint_variance(endpoint[:, :1]).isnan().all()


def test_paths_that_cross_have_cosine_minus_one() -> None:
    noise = torch.randn(5, 3, 4, 2, generator=torch.Generator().manual_seed(0))
    assert path_cosines(noise, -0.5 * noise).tolist() == pytest.approx([-1.0] * 15)
    assert path_cosines(noise, 0.5 * noise).tolist() == pytest.approx([1.0] * 15)
    dn, de = noise[:, 0] - noise[:, 1], -0.5 * (noise[:, 0] - noise[:, 1])
    t = 1 / 3  # where t * dn + (1 - t) * de is zero
    assert (t * dn + (1 - t) * de).abs().max() < 1e-6
    assert len(path_cosines(noise[:, :1], noise[:, :1])) == 0
