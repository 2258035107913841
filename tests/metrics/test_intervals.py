"""The Wilson interval against scipy's."""

import pytest
from scipy.stats import binomtest

from reflow.metrics import wilson_interval


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(
    ("successes", "n"), [(0, 1), (1, 1), (0, 40), (3, 40), (20, 40), (40, 40), (977, 1000)]
)
def test_equals_scipy(successes: int, n: int, confidence: float) -> None:
    expected = binomtest(successes, n).proportion_ci(confidence_level=confidence, method="wilson")
    low, high = wilson_interval(successes, n, confidence)
    assert (low, high) == pytest.approx((expected.low, expected.high), rel=1e-9, abs=1e-12)
    assert 0 <= low < high <= 1


def test_95_percent_is_the_default() -> None:
    assert wilson_interval(3, 40) == wilson_interval(3, 40, 0.95)


def test_all_and_none_reach_the_ends_exactly() -> None:
    for n in range(1, 200):
        assert wilson_interval(0, n)[0] == 0.0
        assert wilson_interval(n, n)[1] == 1.0


@pytest.mark.parametrize(
    ("successes", "n", "confidence", "message"),
    [
        (0, 0, 0.95, "n is 0; allowed: 1 or more"),
        (-1, 5, 0.95, "successes is -1; allowed: 0 to n = 5"),
        (6, 5, 0.95, "successes is 6; allowed: 0 to n = 5"),
        (1, 5, 0.0, "confidence is 0.0; allowed: above 0 and below 1"),
        (1, 5, 95.0, "confidence is 95.0; allowed: above 0 and below 1"),
    ],
)
def test_errors(successes: int, n: int, confidence: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wilson_interval(successes, n, confidence)
