"""How many pairs: the exact power against every outcome one by one, played tests, and the textbook."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binom, multinomial, norm

from reflow.metrics.paired import compare_counts
from reflow.metrics.paired_plan import MOST, PairedPlan, noninferiority_power, plan_pairs
from reflow.metrics.paired_score import tango_interval


@pytest.mark.parametrize("n", [1, 30, 60])
@pytest.mark.parametrize(("discordance", "difference"), [(0.1, 0.0), (0.3, -0.05), (0.2, 0.2), (0.4, -0.1)])
def test_power_is_the_sum_over_all_outcomes(n: int, discordance: float, difference: float) -> None:
    margin = 0.1
    rates = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    power = sum(
        multinomial.pmf([b, c, n - b - c], n, rates)
        for b, c in product(range(n + 1), repeat=2)
        if b + c <= n and tango_interval(b, c, n)[0] > -margin
    )
    assert noninferiority_power(n, margin, discordance, difference) == pytest.approx(power, abs=1e-9)


@pytest.mark.parametrize(("discordance", "difference"), [(0.1, 0.0), (0.14, 0.0), (0.12, -0.005)])
def test_planned_pairs_show_it_as_often_as_promised(discordance: float, difference: float) -> None:
    plan = plan_pairs(0.02, 0.9, discordance, difference)
    rates = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    played = 2000
    draws = np.random.default_rng(0).multinomial(plan.pairs, rates, size=played)
    shown = sum(compare_counts(0, int(b), int(c), int(none)).noninferior is True for b, c, none in draws)
    # As far from the promise as a fair count of so many is once in a million.
    low, high = binom.ppf(5e-7, played, plan.power), binom.isf(5e-7, played, plan.power)
    assert low <= shown <= high


@pytest.mark.parametrize("discordance", [0.03, 0.1, 0.12, 0.3])
@pytest.mark.parametrize("margin", [0.02, 0.05])
def test_a_policy_that_is_worse_by_the_margin_passes_as_seldom_as_alpha_says(
    margin: float, discordance: float
) -> None:
    plan = plan_pairs(margin, 0.9, discordance)
    discordance = max(discordance, margin)
    error = noninferiority_power(plan.pairs, margin, discordance, -margin)
    # b - c is a whole number: one more or less at the border has this probability.
    assert abs(error - 0.025) < norm.pdf(norm.ppf(0.975)) / np.sqrt(plan.pairs * discordance)


@pytest.mark.parametrize("power", [0.8, 0.9])
@pytest.mark.parametrize(
    ("discordance", "difference"), [(0.1, 0.0), (0.12, 0.0), (0.12, -0.005), (0.12, 0.01)]
)
def test_it_is_the_number_where_the_power_is_reached_and_near_the_textbooks(
    power: float, discordance: float, difference: float
) -> None:
    plan = plan_pairs(0.02, power, discordance, difference)
    assert plan.power >= power
    assert noninferiority_power(plan.pairs - 1, 0.02, discordance, difference) < power
    z = norm.ppf(0.975) + norm.ppf(power)
    textbook = z**2 * (discordance - difference**2) / (0.02 + difference) ** 2
    assert plan.pairs == pytest.approx(textbook, rel=0.03)


def test_without_any_difference_it_has_its_closed_form() -> None:
    # z**2 / (n + z**2) < margin
    n = int(np.floor(norm.ppf(0.975) ** 2 * 0.98 / 0.02)) + 1
    assert plan_pairs(0.02, 0.9, discordance=0.0).pairs == n
    assert (PairedPlan(n, discordance=0.0).power, PairedPlan(n - 1, discordance=0.0).power) == (1.0, 0.0)


def test_what_makes_it_harder_takes_more_pairs() -> None:
    usual = plan_pairs().pairs
    assert plan_pairs(margin=0.03).pairs < usual < plan_pairs(power=0.95).pairs
    assert plan_pairs(expected_difference=0.005).pairs < usual < plan_pairs(discordance=0.14).pairs
    assert usual < plan_pairs(alpha=0.01).pairs


def test_power_at_the_discordance_that_was_seen() -> None:
    plan = PairedPlan(1000)
    assert plan.power_at(0.2) < plan.power == plan.power_at(0.12) < plan.power_at(0.03)
    worse = PairedPlan(1000, expected_difference=-0.01)
    assert worse.power_at(0.0) == worse.power_at(0.01)  # as many pairs differ as the difference makes


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"margin": 0.0}, "margin is 0.0; allowed: above 0 and below 1"),
        ({"alpha": 0.5}, "alpha is 0.5; allowed: above 0 and below 0.5"),
        ({"power": 90.0}, "power is 90.0; allowed: 0.5 to below 1"),
        (
            {"discordance": 1.5},
            r"discordance is 1.5; allowed: 0.0 \(the size of .*\) to 1; it is the share",
        ),
        (
            {"discordance": 0.001, "expected_difference": 0.01},
            r"discordance is 0.001; allowed: 0.01 \(the size",
        ),
        (
            {"expected_difference": -0.02},
            "expected_difference is -0.02; allowed: above -margin = -0.02 and below 1",
        ),
        ({"margin": 0.0005}, f"would take more than {MOST:,} pairs of episodes; choose a wider margin"),
    ],
)
def test_numbers_out_of_range(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        plan_pairs(**wrong)


def test_pairs_out_of_range() -> None:
    for pairs in (0, MOST + 1):
        with pytest.raises(ValueError, match=f"episodes is {pairs}; allowed: 1 to {MOST} pairs"):
            PairedPlan(pairs)
