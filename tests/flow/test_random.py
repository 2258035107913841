"""Random numbers by identity: same identity, same bits; other identity, other numbers; the right moments."""

import random

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from reflow.errors import UserError
from reflow.flow import Draws, draw_identities

SHAPE = (50, 32)
GOLDEN_NOISE = [-0.3864731788635254, 0.5746701955795288, -0.8040942549705505, -1.1458048820495605]
GOLDEN_UNIFORM = 0.9661287069320679


def _grid(b: int, k: int) -> tuple[Tensor, Tensor]:
    return torch.arange(b), torch.arange(k).expand(b, k)


def test_shapes_dtypes_and_range() -> None:
    sample, draw = _grid(3, 2)
    noise, uniform = Draws(0).noise(sample, draw, SHAPE), Draws(0).uniform(sample, draw)
    assert noise.shape == (3, 2, *SHAPE)
    assert uniform.shape == (3, 2)
    assert noise.dtype == uniform.dtype == torch.float32


def test_the_stream_is_pinned() -> None:
    """A release of numpy that changes these bits would silently invalidate every cached coupling."""
    sample, draw = torch.tensor([12345]), torch.tensor([[678]])
    noise = Draws(42).noise(sample, draw, (2, 2)).flatten().tolist()
    assert noise == pytest.approx(GOLDEN_NOISE, abs=1e-7)
    assert Draws(42).uniform(sample, draw).item() == GOLDEN_UNIFORM


@pytest.mark.parametrize(("seed", "sample", "draw"), [(0, 0, 0), (3, 5, 7), (2**64 - 1, 2**63 - 1, 2**40)])
def test_streams_are_those_of_philox_under_that_key_and_counter(seed: int, sample: int, draw: int) -> None:
    def philox(purpose: int) -> np.random.Philox:
        key, counter = np.array([seed, purpose], np.uint64), np.array([0, 0, draw, sample], np.uint64)
        return np.random.Philox(key=key, counter=counter)

    identity = torch.tensor([sample]), torch.tensor([[draw]])
    expected = np.random.Generator(philox(0)).standard_normal(SHAPE, dtype=np.float32)
    assert torch.equal(Draws(seed).noise(*identity, SHAPE)[0, 0], torch.from_numpy(expected))
    assert Draws(seed).uniform(*identity).item() == (philox(1).random_raw() >> 40) / 2**24


def test_batch_order_and_composition_change_nothing() -> None:
    draws, (sample, draw) = Draws(7), _grid(6, 4)
    noise, uniform = draws.noise(sample, draw, SHAPE), draws.uniform(sample, draw)
    order, columns = torch.tensor([4, 0, 5, 5]), torch.tensor([3, 1])
    assert torch.equal(draws.noise(sample[order], draw[order][:, columns], SHAPE), noise[order][:, columns])
    assert torch.equal(draws.uniform(sample[order], draw[order][:, columns]), uniform[order][:, columns])
    one = draws.noise(torch.tensor([2]), torch.tensor([[3]]), SHAPE)
    assert torch.equal(one[0, 0], noise[2, 3])


def test_narrower_integers_and_another_object_give_the_same_bits() -> None:
    sample, draw = _grid(3, 2)
    assert torch.equal(Draws(1).noise(sample.int(), draw.int(), SHAPE), Draws(1).noise(sample, draw, SHAPE))


@pytest.mark.parametrize("b", [0, 2])
def test_empty_batches_and_no_draws(b: int) -> None:
    sample, draw = _grid(b, 3 - b)
    assert Draws(0).noise(sample, draw, SHAPE).shape == (b, 3 - b, *SHAPE)
    assert Draws(0).uniform(sample, draw).shape == (b, 3 - b)


def test_every_part_of_the_identity_counts() -> None:
    # Large numbers too: torch's own CPU generator keeps 32 bits of its seed.
    seen = set()
    numbers = (0, 1, 2, 2**32, 2**32 + 1, 2**40)
    for seed in numbers:
        for sample in numbers:
            for draw in numbers:
                identity = torch.tensor([sample]), torch.tensor([[draw]])
                seen.add(tuple(Draws(seed).noise(*identity, (4,)).flatten().tolist()))
    assert len(seen) == len(numbers) ** 3


def test_noise_may_have_a_seed_of_its_own() -> None:
    identity = torch.tensor([3]), torch.tensor([[0, 1]])
    mixed = Draws(5, noise_seed=9)
    assert torch.equal(mixed.noise(*identity, SHAPE), Draws(9).noise(*identity, SHAPE))
    assert torch.equal(mixed.uniform(*identity), Draws(5).uniform(*identity))
    with pytest.raises(UserError, match="noise_seed is -1"):
        Draws(5, noise_seed=-1)


def test_uniform_numbers_differ_by_seed_sample_and_draw() -> None:
    sample, draw = _grid(40, 40)
    values = torch.stack([Draws(seed).uniform(sample, draw) for seed in (0, 1, 2**63)])
    # Of 4800 numbers among 2**24, fewer than one pair coincides on average.
    assert values.unique().numel() > 4795


def test_noise_is_standard_normal() -> None:
    x = Draws(0).noise(*_grid(16, 8), SHAPE).double()
    n = x.numel()
    assert abs(x.mean().item()) < 4 / n**0.5
    assert abs(x.var().item() - 1) < 4 * (2 / n) ** 0.5
    assert abs(scipy.stats.kurtosis(x.flatten().numpy())) < 4 * (24 / n) ** 0.5
    assert scipy.stats.kstest(x.flatten().numpy(), "norm").pvalue > 1e-3


def test_uniform_is_uniform_and_below_one() -> None:
    u = Draws(0).uniform(*_grid(200, 50))
    assert (u >= 0).all()
    assert (u < 1).all()
    assert torch.equal(u * 2**24, (u * 2**24).round())
    assert scipy.stats.kstest(u.double().flatten().numpy(), "uniform").pvalue > 1e-3


def test_neighbouring_streams_are_uncorrelated() -> None:
    noise = Draws(0).noise(*_grid(12, 12), SHAPE).double().reshape(144, -1)
    correlation = torch.corrcoef(noise) - torch.eye(144, dtype=torch.float64)
    # The largest of about 10,000 correlations of 1,600 independent pairs is near 4 / sqrt(1600).
    assert correlation.abs().max() < 5.5 / 1600**0.5
    seeds = torch.stack([Draws(s).noise(*_grid(4, 4), SHAPE).double().flatten() for s in (0, 1)])
    assert torch.corrcoef(seeds)[0, 1].abs() < 5 / seeds.shape[1] ** 0.5


def test_time_is_independent_of_noise() -> None:
    sample, draw = _grid(50, 40)
    first = scipy.stats.norm.cdf(Draws(0).noise(sample, draw, (1,)).double().flatten().numpy())
    time = Draws(0).uniform(sample, draw).double().flatten().numpy()
    assert abs(scipy.stats.spearmanr(first, time).statistic) < 4 / len(time) ** 0.5


@pytest.mark.usefixtures("as_users_run")  # the type checker draws from Python's own generator
def test_global_generators_are_neither_used_nor_moved() -> None:
    states = torch.get_rng_state(), str(np.random.get_state()), random.getstate()
    first = Draws(0).noise(*_grid(2, 2), SHAPE), Draws(0).uniform(*_grid(2, 2))
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (str(np.random.get_state()), random.getstate()) == states[1:]
    with torch.random.fork_rng():
        torch.manual_seed(99)
        again = Draws(0).noise(*_grid(2, 2), SHAPE), Draws(0).uniform(*_grid(2, 2))
    assert all(torch.equal(x, y) for x, y in zip(first, again, strict=True))


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_error_for_the_seed(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"seed is {seed}; allowed: 0 to 2\*\*64 - 1"):
        Draws(seed)


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize("purpose", ["noise", "uniform"])
@pytest.mark.parametrize(
    ("sample", "draw", "message"),
    [
        (torch.tensor([0.0]), torch.tensor([[0]]), r"sample has dtype torch.float32; allowed: an integer"),
        (torch.tensor([0]), torch.tensor([[True]]), r"draw has dtype torch.bool; allowed: an integer"),
        (torch.tensor([-2]), torch.tensor([[0]]), r"sample holds -2; allowed: 0 or more"),
        (torch.tensor([0]), torch.tensor([[-1]]), r"draw holds -1; allowed: 0 or more"),
        (
            torch.tensor([0, 1]),
            torch.tensor([[0]]),
            r"sample has shape \(2,\), draw \(1, 1\); allowed: \[b\]",
        ),
        (torch.tensor([0]), torch.tensor([0]), r"sample has shape \(1,\), draw \(1,\); allowed: \[b\] and"),
        (torch.tensor(0), torch.tensor([[0]]), r"sample has shape \(\), draw \(1, 1\)"),
    ],
)
def test_errors(purpose: str, sample: Tensor, draw: Tensor, message: str) -> None:
    shape = (SHAPE,) if purpose == "noise" else ()
    with pytest.raises(ValueError, match=message):
        getattr(Draws(0), purpose)(sample, draw, *shape)


def test_draw_identities_are_new_at_every_visit_or_come_from_a_pool() -> None:
    visit = torch.tensor([0, 3, 5])
    assert draw_identities(visit, 2).tolist() == [[0, 1], [6, 7], [10, 11]]
    assert draw_identities(visit, 2, pool=4).tolist() == [[0, 1], [2, 3], [2, 3]]
    assert draw_identities(visit, 2, pool=3).tolist() == [[0, 1], [0, 1], [1, 2]]


def test_errors_of_draw_identities() -> None:
    with pytest.raises(ValueError, match=r"draws is 0; allowed: 1 or more"):
        draw_identities(torch.tensor([0]), 0)
    with pytest.raises(
        ValueError, match=r"objective\.draw_pool is 3, objective\.draws 4; allowed: a pool of 4"
    ):
        draw_identities(torch.tensor([0]), 4, pool=3)
