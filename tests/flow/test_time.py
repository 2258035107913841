"""Time samplers: each distribution against an independent one, support, monotony, errors."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch

from reflow.flow import (
    EULER,
    BetaTime,
    Draws,
    EndpointTime,
    GridTime,
    LogitNormalTime,
    TimeSampler,
    UniformTime,
    UShapedTime,
    integrate,
)

Cdf = Callable[[np.ndarray], np.ndarray]


def _u_shaped_cdf(a: float) -> Cdf:
    """Integrate the density numerically: exp(a t) + exp(a (1 - t)), two mirrored exponentials."""

    def density(t: float) -> float:
        return float(np.exp(a * t) + np.exp(a * (1.0 - t)))

    total = scipy.integrate.quad(density, 0, 1)[0]
    return np.vectorize(lambda t: scipy.integrate.quad(density, 0, t)[0] / total)


def _logit_normal_cdf(mean: float, std: float) -> Cdf:
    return lambda t: scipy.stats.norm.cdf(np.log(t / (1 - t)), loc=mean, scale=std)


CONTINUOUS: list[tuple[TimeSampler, Cdf]] = [
    (UniformTime(), scipy.stats.uniform.cdf),
    (BetaTime(), scipy.stats.beta(1.5, 1.0, loc=0.001, scale=0.999).cdf),
    (BetaTime(alpha=0.5, scale=0.8, offset=0.1), scipy.stats.beta(0.5, 1.0, loc=0.1, scale=0.8).cdf),
    (UShapedTime(), _u_shaped_cdf(4.0)),
    (UShapedTime(a=0.5), _u_shaped_cdf(0.5)),
    (LogitNormalTime(), _logit_normal_cdf(0.0, 1.0)),
    (LogitNormalTime(mean=-0.7, std=1.6), _logit_normal_cdf(-0.7, 1.6)),
]
EVERY: list[TimeSampler] = [
    *(sampler for sampler, _ in CONTINUOUS),
    BetaTime(alpha=0.01, scale=1.0, offset=0.0),
    UShapedTime(a=700.0),
    LogitNormalTime(std=1000.0),
    GridTime(1),
    GridTime(7),
    GridTime((1, 2, 4)),
    EndpointTime(),
]


@pytest.mark.parametrize(("sampler", "cdf"), CONTINUOUS, ids=[repr(sampler) for sampler, _ in CONTINUOUS])
def test_is_the_inverse_of_the_distribution_function(sampler: TimeSampler, cdf: Cdf) -> None:
    u = (torch.arange(400, dtype=torch.float64) + 0.5) / 400
    np.testing.assert_allclose(cdf(sampler(u).numpy()), u.numpy(), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("sampler", "cdf"), CONTINUOUS)
def test_draws_pass_kolmogorov_smirnov(sampler: TimeSampler, cdf: Cdf) -> None:
    u = Draws(seed=0).uniform(torch.arange(2000), torch.zeros(2000, 1, dtype=torch.int64))
    assert scipy.stats.kstest(sampler(u).double().numpy().ravel(), cdf).pvalue > 1e-3


def test_beta_draws_are_distributed_as_those_of_lerobot(stock: ModuleType) -> None:
    u = Draws(seed=0).uniform(torch.arange(4000), torch.zeros(4000, 1, dtype=torch.int64))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = stock.sample_time_beta(4000, "cpu", alpha=1.5, beta=1.0, scale=0.999, offset=0.001)
    assert scipy.stats.ks_2samp(BetaTime()(u).numpy().ravel(), theirs.numpy()).pvalue > 1e-3


def test_beta_closed_form() -> None:
    u = torch.tensor([0.125, 0.5, 0.9], dtype=torch.float64)
    assert torch.equal(BetaTime()(u), u ** (1 / 1.5) * 0.999 + 0.001)


def test_u_shape_is_a_u() -> None:
    t = UShapedTime(a=4.0)((torch.arange(3000, dtype=torch.float64) + 0.5) / 3000)
    low, middle, high = torch.histc(t, bins=3, min=0.0, max=1.0).tolist()
    assert low == high
    assert low > 2 * middle


@pytest.mark.parametrize("sampler", EVERY, ids=repr)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_never_zero_never_above_one_never_falling(sampler: TimeSampler, dtype: torch.dtype) -> None:
    eps = torch.finfo(dtype).eps
    u = torch.cat([torch.tensor([0.0, 2.0**-24]), torch.linspace(0, 1, 501)[1:-1]]).to(dtype).sort().values
    u = torch.cat([u, torch.tensor([1 - eps / 2], dtype=dtype)]).reshape(2, -1)
    t = sampler(u)
    assert t.dtype == dtype
    assert t.shape == u.shape
    assert (t > 0).all()
    assert (t <= 1).all()
    assert (t.flatten().diff() >= 0).all()


@pytest.mark.parametrize("sampler", EVERY, ids=repr)
def test_the_uniform_number_zero_stands_for_the_middle_of_its_cell(sampler: TimeSampler) -> None:
    zero, middle = sampler(torch.tensor([0.0, 2.0**-25]))
    assert zero == middle


@pytest.mark.parametrize("num_steps", [1, 2, 3, 7, 10, 49, 100])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_grid_times_are_those_of_the_solver_to_the_last_bit(num_steps: int, dtype: torch.dtype) -> None:
    asked: list[torch.Tensor] = []

    def velocity(x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        asked.append(t)
        return x_t

    integrate(velocity, torch.zeros(1, 1, dtype=dtype), num_steps, EULER)
    u = (torch.arange(num_steps, dtype=dtype) + 0.5) / num_steps
    t = GridTime(num_steps)(u)
    assert torch.equal(t.flip(0), torch.cat(asked))
    torch.testing.assert_close(t, torch.arange(1, num_steps + 1, dtype=dtype) / num_steps)


def test_grid_cells_are_equally_likely() -> None:
    u = torch.arange(1000, dtype=torch.float64) / 1000
    times, counts = GridTime(10)(u).unique(return_counts=True)
    assert len(times) == 10
    assert (counts == 100).all()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10])
def test_a_grid_of_one_number_of_steps_cuts_the_numbers_evenly(n: int) -> None:
    u = torch.rand(1000, generator=torch.Generator().manual_seed(n), dtype=torch.float64)
    assert torch.equal(GridTime(n)(u), 1.0 + (n - 1 - torch.floor(u * n)) * (-1.0 / n))


def test_of_several_numbers_of_steps_each_is_as_likely_and_so_is_each_of_its_times() -> None:
    u = (torch.arange(3600, dtype=torch.float64) + 0.5) / 3600
    times, counts = GridTime([4, 1, 3])(u).unique(return_counts=True)
    wanted: dict[float, float] = {}
    for n in (1, 3, 4):
        for t in GridTime(n)((torch.arange(n, dtype=torch.float64) + 0.5) / n).tolist():
            wanted[t] = wanted.get(t, 0.0) + 3600 / (3 * n)
    assert times.tolist() == sorted(wanted)
    assert counts.tolist() == [round(wanted[t]) for t in times.tolist()]


def test_equal_grids_are_equal() -> None:
    assert GridTime([2]) == GridTime(2)
    assert GridTime([2, 1, 2]) == GridTime((1, 2)) != GridTime(2)
    assert GridTime([2, 1, 2]).counts == (1, 2)


def test_endpoint_is_one() -> None:
    assert torch.equal(EndpointTime()(torch.rand(5)), torch.ones(5))


@pytest.mark.parametrize(
    ("make", "fields", "message"),
    [
        (BetaTime, {"beta": 2.0}, r"beta is 2.0; allowed: 1.0, .* use LogitNormalTime or UShapedTime"),
        (BetaTime, {"alpha": 0.0}, r"alpha is 0.0; allowed: finite and above 0"),
        (BetaTime, {"scale": -1.0}, r"scale is -1.0; allowed: finite and above 0"),
        (BetaTime, {"offset": 0.5}, r"offset is 0.5 with scale 0.999; allowed: offset at least 0 and"),
        (BetaTime, {"offset": -0.1}, r"offset is -0.1 with scale 0.999; allowed: offset at least 0 and"),
        (UShapedTime, {"a": -4.0}, r"a is -4.0; allowed: finite and above 0"),
        (UShapedTime, {"a": 1000.0}, r"a is 1000.0; allowed: at most 700"),
        (LogitNormalTime, {"std": 0.0}, r"std is 0.0; allowed: finite and above 0"),
        (LogitNormalTime, {"mean": float("inf")}, r"mean is inf; allowed: any finite number"),
        (GridTime, {"num_steps": 0}, r"num_steps is 0; allowed: 1 or more"),
        (GridTime, {"num_steps": [2, 0]}, r"num_steps is \[2, 0\]; allowed: 1 or more"),
        (GridTime, {"num_steps": []}, r"num_steps is \[\]; allowed: 1 or more"),
    ],
)
def test_errors(make: Callable[..., Any], fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make(**fields)
