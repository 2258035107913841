"""Mode coverage: clouds whose modes are known, and clouds that only seem to have some."""

import pytest
import torch
from torch import Tensor

from reflow.flow import ActionSpace
from reflow.metrics import ModeCoverage
from reflow.metrics.modes import find_modes


def _normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _mixture(centres: Tensor, counts: list[int], seed: int = 0) -> Tensor:
    """A standard normal cloud around each centre, in a mixed order."""
    cloud = torch.cat([centre.expand(n, -1) for centre, n in zip(centres, counts, strict=True)])
    order = torch.randperm(len(cloud), generator=torch.Generator().manual_seed(seed))
    return cloud[order] + _normal(*cloud.shape, seed=seed)


def _corners(width: int, count: int, distance: float) -> Tensor:
    """Points at equal distances from each other."""
    return torch.eye(width, dtype=torch.float64)[:count] * distance / 2**0.5


def _line(width: int, count: int, distance: float) -> Tensor:
    return torch.eye(width, dtype=torch.float64)[0] * distance * torch.arange(count)[:, None]


def _figures(x: Tensor, reference: Tensor) -> dict[str, float]:
    metric = ModeCoverage(ActionSpace(x.shape[1], x.shape[1], chunk_size=1))
    metric.update(x[None, :, None], reference[None, :, None])
    return {name: value.item() for name, value in metric.compute().items()}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("centres", "counts"),
    [
        (_corners(2, 1, 0), [64]),
        (_corners(2, 2, 10), [32, 32]),
        (_corners(20, 2, 10), [16, 48]),
        (_corners(100, 2, 12), [32, 32]),
        (_corners(20, 3, 12), [20, 20, 24]),
        (_line(2, 3, 12), [20, 24, 20]),
        (_line(5, 4, 14), [25, 25, 25, 25]),
    ],
)
def test_modes_are_counted_and_told_apart(centres: Tensor, counts: list[int], seed: int) -> None:
    modes = find_modes(_mixture(centres, counts, seed))
    assert modes.count == len(centres)
    assert sorted(torch.bincount(modes.labels).tolist()) == sorted(counts)
    # Each found centre is nearest to another of the true ones.
    assert sorted(torch.cdist(modes.centres, centres).argmin(dim=1).tolist()) == list(range(len(centres)))


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("noises", [64, 200])
def test_one_mode_is_one_whatever_its_shape(noises: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(noises, 1, generator=generator, dtype=torch.float64)
    correlated = _normal(noises, 60, seed=seed) * torch.exp(-torch.arange(60) / 3)
    clouds = {
        "flat": uniform,
        "line in many dimensions": uniform * _normal(30, seed=9) + 0.01 * _normal(noises, 30, seed=seed),
        "round": _normal(noises, 1, seed=seed),
        "round in many dimensions": _normal(
            noises, 200, seed=seed
        ),  # any two halves look apart to themselves
        "correlated": correlated,
        "skewed": -uniform.log(),
    }
    assert {name: find_modes(cloud).count for name, cloud in clouds.items()} == dict.fromkeys(clouds, 1)


def test_outliers_are_no_mode() -> None:
    assert find_modes(_mixture(_corners(5, 2, 100), [61, 3])).count == 1


def test_no_more_than_most_are_looked_for() -> None:
    cloud = _mixture(_line(2, 4, 14), [25] * 4)
    assert [find_modes(cloud, most).count for most in (1, 4, 6)] == [1, 4, 4]


def test_equal_points_are_one_mode_and_rounding_makes_no_other() -> None:
    constant = torch.full((64, 3), 1 / 3, dtype=torch.float64)
    assert find_modes(constant).count == 1
    last_bit = torch.where(torch.arange(64) % 2 == 0, 1.0, 1 + torch.finfo(torch.float32).eps)
    assert find_modes(constant * last_bit[:, None]).count == 1
    assert find_modes(torch.zeros(64, 3, dtype=torch.float64)).count == 1


def test_points_without_any_spread_are_modes_too() -> None:
    reference = torch.tensor([[0.1, 0.0], [0.7, 1.0]], dtype=torch.float64).repeat(32, 1)
    assert find_modes(reference).count == 2
    assert _figures(reference.float().double(), reference) == {"coverage": 1, "evenness": 1, "modes": 2}


REFERENCE = _mixture(_corners(20, 2, 12), [44, 20])


@pytest.mark.parametrize(
    ("counts", "coverage", "evenness"),
    [
        ([44, 20], 1, 1),  # as the teacher
        ([0, 64], 20 / 64, 20 / 64),  # one way only
        ([64, 0], 44 / 64, 44 / 64),
        ([32, 32], 1, 0.5 + 20 / 64),  # either way alike
        ([63, 1], 44 / 64, 44 / 64 + 1 / 64),  # 1 is less than a tenth of 20
        ([60, 4], 1, 44 / 64 + 4 / 64),
    ],
)
def test_ways_that_are_lost_or_rare(counts: list[int], coverage: float, evenness: float) -> None:
    # Less spread than the teacher's: no sample falls out of its mode by chance.
    x = _mixture(10 * _corners(20, 2, 12), counts, seed=1) / 10
    figures = _figures(x, REFERENCE)
    assert figures["modes"] == 2
    assert figures["coverage"] == pytest.approx(coverage, abs=0.02)
    assert figures["evenness"] == pytest.approx(evenness, abs=0.06)


def test_a_tenth_of_the_share_is_the_border() -> None:
    reference = torch.tensor([[0.0], [1.0]], dtype=torch.float64).repeat(32, 1)
    for at_one, coverage in ((4, 0.5), (5, 1.0)):
        x = (torch.arange(100) < at_one).double()[:, None]
        assert _figures(x, reference)["coverage"] == coverage
        assert _figures(x, reference)["evenness"] == pytest.approx(0.5 + at_one / 100)


def test_the_average_of_two_ways_is_neither() -> None:
    average = REFERENCE.mean(dim=0) + 0.1 * _normal(64, 20, seed=1)
    halfway = _corners(20, 2, 12).mean(dim=0) + 0.5 * _normal(64, 20, seed=2)
    for x in (average, halfway):
        assert _figures(x, REFERENCE)["coverage"] == 0
        assert _figures(x, REFERENCE)["evenness"] < 0.05


def test_another_draw_of_the_teacher_covers_it() -> None:
    for width, distance in ((1, 8), (20, 12), (200, 16)):
        centres = _line(width, 2, distance)
        figures = _figures(_mixture(centres, [32, 32], seed=1), _mixture(centres, [32, 32], seed=2))
        assert (figures["modes"], figures["coverage"]) == (2, 1)
        assert figures["evenness"] > 0.8


def test_with_one_mode_it_says_whether_x_is_there() -> None:
    reference = _normal(64, 5)
    assert _figures(_normal(64, 5, seed=1), reference) == pytest.approx(
        {"coverage": 1, "evenness": 1, "modes": 1}, abs=0.1
    )
    assert _figures(_normal(64, 5, seed=1) + 20, reference) == {"coverage": 0, "evenness": 0, "modes": 1}


def test_a_student_that_diverged_covers_nothing() -> None:
    x = torch.full((64, 20), float("nan"), dtype=torch.float64)
    assert _figures(x, REFERENCE) == {"coverage": 0, "evenness": 0, "modes": 2}


def test_errors() -> None:
    with pytest.raises(ValueError, match="most is 0; allowed: 1 or more"):
        ModeCoverage(ActionSpace(1, 1, chunk_size=1), most=0)
    with pytest.raises(ValueError, match="reference holds values that are not finite; allowed: finite"):
        _figures(REFERENCE, REFERENCE / 0)
