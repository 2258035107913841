"""Paired episodes: published examples, the likelihood itself, coverage, and what is concluded."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from scipy.stats import binom, binomtest, multinomial, norm

from reflow.metrics.paired import PairedComparison, compare_counts, compare_paired
from reflow.metrics.paired_score import tango_interval

COUNTS = st.integers(0, 60)
TABLES = st.tuples(COUNTS, COUNTS, COUNTS, COUNTS).filter(lambda table: sum(table) > 0)


@pytest.mark.parametrize(
    ("table", "confidence", "low", "high", "digits"),
    [
        # Tango 1998: two ways to disinfect contact lenses.
        ((43, 0, 1, 0), 0.90, -0.096, 0.037, 3),
        # Fagerland, Lydersen and Laake 2017, chapter 8: airway hyper-responsiveness; complete response.
        ((1, 1, 7, 12), 0.95, -0.517, -0.026, 3),
        ((59, 6, 16, 80), 0.95, -0.1240, -0.0054, 4),
    ],
)
def test_published_intervals(
    table: tuple[int, int, int, int], confidence: float, low: float, high: float, digits: int
) -> None:
    found = tango_interval(table[1], table[2], sum(table), confidence)
    assert [round(end, digits) for end in found] == [low, high]
    comparison = compare_counts(*table, alpha=(1 - confidence) / 2)
    assert (comparison.low, comparison.high) == pytest.approx(found)


@pytest.mark.parametrize(("b", "c", "n"), [(3, 8, 40), (0, 5, 30), (20, 1, 21), (100, 140, 1000)])
def test_the_ends_are_where_the_score_test_is_at_its_critical_value(b: int, c: int, n: int) -> None:
    def z(difference: float) -> float:
        """The score statistic, its nuisance parameter found by a search."""

        def unlikelihood(rate: float) -> float:
            rates = np.array([rate + difference, rate, 1 - difference - 2 * rate])
            return -np.sum(np.array([b, c, n - b - c]) * np.log(np.maximum(rates, 1e-300)))

        bounds = (max(0, -difference), (1 - difference) / 2)
        rate = minimize_scalar(unlikelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        return (b - c - n * difference) / np.sqrt(n * (2 * rate + difference - difference**2))

    for confidence in (0.8, 0.95):
        low, high = tango_interval(b, c, n, confidence)
        assert z(low) == pytest.approx(norm.ppf((1 + confidence) / 2), rel=1e-4)
        assert z(high) == pytest.approx(-norm.ppf((1 + confidence) / 2), rel=1e-4)


@pytest.mark.parametrize("n", [1, 10, 1000])
def test_where_no_pair_or_every_pair_differs_it_has_its_closed_form(n: int) -> None:
    z = norm.ppf(0.975)
    assert tango_interval(0, 0, n) == pytest.approx((-(z**2) / (n + z**2), z**2 / (n + z**2)))
    assert tango_interval(n, 0, n) == pytest.approx(((n - z**2) / (n + z**2), 1))
    assert tango_interval(0, n, n) == pytest.approx((-1, -(n - z**2) / (n + z**2)))


@pytest.mark.parametrize("rates", [(0.1, 0.1), (0.05, 0.2), (0.02, 0.02), (0.4, 0.1)])
def test_it_covers_as_often_as_it_says(rates: tuple[float, float]) -> None:
    # Exact: over all tables of 40 pairs.
    n, covered = 40, 0.0
    for b, c in product(range(n + 1), repeat=2):
        if b + c <= n:
            probability = multinomial.pmf([b, c, n - b - c], n, [*rates, 1 - sum(rates)])
            if probability > 1e-6:
                low, high = tango_interval(b, c, n)
                covered += probability * (low <= rates[0] - rates[1] <= high)
    assert 0.93 < covered < 0.995


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 1), (3, 3), (2, 9), (12, 1), (40, 60)])
def test_mcnemar_is_the_tail_of_a_fair_coin(b: int, c: int) -> None:
    expected = min(1.0, 2 * binom.cdf(min(b, c), b + c, 0.5))
    assert compare_counts(5, b, c, 5).mcnemar_p == pytest.approx(expected)


@given(table=TABLES, margin=st.floats(0.005, 0.3))
@settings(deadline=None, max_examples=60)
def test_swapping_the_policies_mirrors_everything(table: tuple[int, int, int, int], margin: float) -> None:
    both, first, second, neither = table
    one = compare_counts(both, first, second, neither, margin=margin)
    other = compare_counts(neither, second, first, both, margin=margin)
    assert other.difference == -one.difference
    assert other.mcnemar_p == one.mcnemar_p
    assert (other.low, other.high) == pytest.approx((-one.high, -one.low), abs=1e-9)
    assert not (one.significantly_worse and other.significantly_worse)


@given(table=TABLES, margin=st.floats(0.005, 0.3), alpha=st.floats(0.01, 0.2))
@settings(deadline=None, max_examples=60)
def test_the_verdict_is_where_the_interval_is(
    table: tuple[int, int, int, int], margin: float, alpha: float
) -> None:
    comparison = compare_counts(*table, margin=margin, alpha=alpha)
    assert -1 <= comparison.low <= comparison.difference <= comparison.high <= 1
    verdict = True if comparison.low > -margin else False if comparison.high < -margin else None
    assert comparison.noninferior is verdict
    assert comparison.superior is (comparison.low > 0 if verdict else None)


@given(table=TABLES, times=st.integers(2, 5))
@settings(deadline=None, max_examples=60)
def test_more_of_the_same_says_more(table: tuple[int, int, int, int], times: int) -> None:
    once, more = compare_counts(*table), compare_counts(*(times * count for count in table))
    assert more.difference == pytest.approx(once.difference)
    assert more.high - more.low < once.high - once.low
    assert more.mcnemar_p <= once.mcnemar_p
    if once.noninferior is not None:
        assert more.noninferior == once.noninferior


def _outcomes(*successes: bool) -> dict[int, bool]:
    return dict(enumerate(successes, start=1000))


def test_outcomes_are_paired_by_seed() -> None:
    first = _outcomes(True, True, True, False, False, False)
    second = dict(reversed(_outcomes(True, False, False, True, False, False).items()))
    comparison = compare_paired(first, second, margin=0.1, alpha=0.05)
    assert comparison == compare_counts(1, 2, 1, 2, margin=0.1, alpha=0.05)
    assert comparison.difference == pytest.approx(1 / 6)
    numbers = {seed: np.bool_(success) for seed, success in first.items()}
    assert compare_paired(
        numbers, {seed: int(success) for seed, success in second.items()}
    ) == compare_paired(first, second)


def test_an_undistilled_teacher_is_significantly_worse() -> None:
    comparison = compare_counts(300, 20, 120, 560)
    assert comparison.significantly_worse
    assert comparison.noninferior is False
    assert comparison.mcnemar_p == binomtest(20, 140).pvalue
    better = compare_counts(300, 120, 20, 560)
    assert not better.significantly_worse
    assert (better.noninferior, better.superior, better.conclusion) == (True, True, "better")
    assert not compare_counts(300, 20, 25, 560).significantly_worse


@pytest.mark.parametrize(
    ("comparison", "sentence"),
    [
        (
            compare_counts(790, 3, 9, 198),
            "student@1 is not inferior to teacher@10 at a margin of 2 percentage points: 79.3 % against 79.9 % "
            "success in 1,000 paired episodes (difference -0.6 points, 95 % interval -1.4 to +0.1, McNemar p = "
            "0.146).",
        ),
        (
            compare_counts(5000, 100, 160, 4740),
            "student@1 is not inferior to teacher@10 at a margin of 2 percentage points, though significantly "
            "worse: 51.0 % against 51.6 % success in 10,000 paired episodes (difference -0.6 points, 95 % interval "
            "-0.9 to -0.3, McNemar p < 0.001).",
        ),
        (
            compare_counts(500, 10, 80, 410, alpha=0.05),
            "student@1 is inferior to teacher@10 by more than 2 percentage points: 51.0 % against 58.0 % success "
            "in 1,000 paired episodes (difference -7.0 points, 90 % interval -8.6 to -5.6, McNemar p < 0.001).",
        ),
        (
            compare_counts(500, 60, 75, 365),
            "student@1 is not shown to be not inferior to teacher@10 at a margin of 2 percentage points: 56.0 % "
            "against 57.5 % success in 1,000 paired episodes (difference -1.5 points, 95 % interval -3.8 to +0.8, "
            "McNemar p = 0.228).",
        ),
        (
            compare_counts(500, 60, 36, 404),
            "student@1 is better than teacher@10: 56.0 % against 53.6 % success in 1,000 paired episodes "
            "(difference +2.4 points, 95 % interval +0.5 to +4.4, McNemar p = 0.018).",
        ),
    ],
)
def test_what_people_are_told(comparison: PairedComparison, sentence: str) -> None:
    assert comparison.sentence("student@1", "teacher@10") == sentence


def test_worse_and_not_shown_says_both() -> None:
    sentence = compare_counts(500, 20, 45, 435, margin=0.025).sentence("a", "b")
    assert sentence.startswith(
        "a is not shown to be not inferior to b at a margin of 2.5 percentage points, and is significantly worse: "
    )


@pytest.mark.parametrize("rates", [(0.05, 0.05), (0.03, 0.05), (0.2, 0.2)])
def test_both_questions_together_err_no_more_often_than_one(rates: tuple[float, float]) -> None:
    # Exact, over all tables of 60 pairs: "better" where it is not, and "not inferior" where it is by the margin.
    n, margin = 60, rates[1] - rates[0] or 0.05
    wrong = 0.0
    for b, c in product(range(n + 1), repeat=2):
        if (
            b + c <= n
            and (probability := multinomial.pmf([b, c, n - b - c], n, [*rates, 1 - sum(rates)])) > 1e-7
        ):
            conclusion = compare_counts(0, b, c, n - b - c, margin=margin).conclusion
            false = ("better",) if rates[0] == rates[1] else ("better", "not inferior")
            wrong += probability * (conclusion in false)
    # b - c is a whole number: one more or less at the border has this probability.
    assert 0 < wrong < 0.025 + norm.pdf(norm.ppf(0.975)) / np.sqrt(n * sum(rates))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"margin": 0.0}, "margin is 0.0; allowed: above 0 and below 1"),
        ({"margin": 2.0}, "margin is 2.0; allowed: above 0 and below 1; 0.02 means 2 percentage points"),
        ({"alpha": 0.5}, "alpha is 0.5; allowed: above 0 and below 0.5"),
        ({"both": -1}, "both is -1; allowed: 0 or more"),
        ({"both": 0, "only_second": 0}, "there are 0 pairs of episodes; allowed: 1 or more"),
    ],
)
def test_numbers_out_of_range(arguments: dict[str, float], message: str) -> None:
    usual = {"both": 3, "only_first": 0, "only_second": 2, "neither": 0}
    with pytest.raises(ValueError, match=message):
        compare_counts(**usual | arguments)


def test_episodes_that_are_no_pairs() -> None:
    first = _outcomes(True, False, True)
    with pytest.raises(
        ValueError, match=r"first has 3 episodes, second 2; 1 seeds are in one of them only \(1002"
    ):
        compare_paired(first, _outcomes(True, False))
    with pytest.raises(ValueError, match=r"3 seeds are in one of them only .*both must have the same seeds"):
        compare_paired(first, {})
    with pytest.raises(ValueError, match="there are 0 pairs of episodes; allowed: 1 or more"):
        compare_paired({}, {})
    with pytest.raises(ValueError, match=r"second has outcome 0\.5 at seed 1001; allowed: true or false"):
        compare_paired(first, {**first, 1001: 0.5})
    with pytest.raises(ValueError, match=r"margin is 1\.0; allowed"):
        compare_paired(first, first, margin=1.0)
