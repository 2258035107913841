"""How many pairs of episodes? Fixed before the first is played, so that the answer is wrong as seldom as it says.

Left out: what finished pairs say (`reflow.metrics.paired`), and keeping the plan (`reflow.evaluation.plan`).
"""

from dataclasses import dataclass

import numpy as np
from scipy.stats import binom, norm

from reflow.errors import UserError
from reflow.metrics.paired_score import score_excess

ALPHA = 0.025
"""One-sided error of non-inferiority, as usual (ICH E9, 1998): the 95 % interval that people see decides."""
MOST = 200_000
"""Pairs beyond which no plan is made."""
_TAIL = 1e-12  # of a binomial distribution, left out on either side


@dataclass(frozen=True)
class PairedPlan:
    """What is to be shown, by how many pairs, and what was assumed when their number was fixed.

    Attributes:
        pairs: Of episodes: all are played, and no more, before anything is concluded.
        margin: By how much the first policy may be worse and still count as not inferior, between 0 and 1.
        discordance: Share of pairs that is expected to differ, at least ``abs(expected_difference)`` and at most 1.
        expected_difference: Success rate of the first policy less that of the second; above ``-margin``.
        alpha: One-sided error, between 0 and 0.5.

    Raises:
        UserError: If a number is out of range.
    """

    pairs: int
    margin: float = 0.02
    discordance: float = 0.12
    expected_difference: float = 0.0
    alpha: float = ALPHA

    def __post_init__(self) -> None:
        if not 1 <= self.pairs <= MOST:
            raise UserError(f"episodes is {self.pairs}; allowed: 1 to {MOST} pairs")
        check_margin(self.margin, self.alpha)
        _check_assumed(self.margin, self.discordance, self.expected_difference)

    def sentence(self) -> str:
        """Say it to people, before the first episode and beside what came out."""
        return (
            f"Planned beforehand: {self.pairs:,} pairs, for a power of {100 * self.power:.0f} % at a margin of "
            f"{100 * self.margin:g} percentage points (one-sided alpha {self.alpha:g}), if "
            f"{100 * self.discordance:g} % of pairs differ and the true difference is "
            f"{100 * self.expected_difference:g} points."
        )

    @property
    def power(self) -> float:
        """Probability that these pairs show non-inferiority, if what was assumed is so."""
        return self.power_at(self.discordance)

    def power_at(self, discordance: float) -> float:
        """The same where another share of pairs differs than was assumed.

        Only this share is taken from what was seen. With the difference that was seen in the place of the one
        that was assumed, power would be the p-value in other words (Hoenig & Heisey 2001).
        """
        difference = self.expected_difference
        discordance = max(discordance, abs(difference))
        return noninferiority_power(self.pairs, self.margin, discordance, difference, self.alpha)


def noninferiority_power(
    n: int, margin: float, discordance: float, difference: float = 0.0, alpha: float = ALPHA
) -> float:
    """Compute how probably ``n`` pairs show non-inferiority by Tango's score test.

    Exact, by adding up the trinomial probabilities of all outcomes that the test rejects; only tails of 1e-12 are
    left out. At ``difference = -margin`` this is the test's true error.

    Args:
        n: Pairs, at least 1.
        margin: As of `PairedPlan`.
        discordance: Probability that a pair differs.
        difference: Success rate of the first policy less that of the second; here any that ``discordance`` allows.
        alpha: As of `PairedPlan`.

    Returns:
        A probability.
    """
    first, second = (discordance + difference) / 2, (discordance - difference) / 2
    b, c = (np.arange(binom.ppf(_TAIL, n, rate), binom.isf(_TAIL, n, rate) + 1) for rate in (first, second))
    b, c = b[:, None], c[None, :]
    probability = binom.pmf(b, n, first) * binom.pmf(c, n - b, second / (1 - first) if first < 1 else 0.0)
    shown = score_excess(b, c, n, -margin, float(norm.ppf(1 - alpha))) > 0
    return float(np.sum(probability * shown, where=b + c <= n))


def plan_pairs(
    margin: float = 0.02,
    power: float = 0.9,
    discordance: float = 0.12,
    expected_difference: float = 0.0,
    alpha: float = ALPHA,
) -> PairedPlan:
    """Plan as many pairs as show non-inferiority with probability ``power``.

    The number is one at which the exact power (`noninferiority_power`) is reached and one pair fewer would not do.
    It is near the textbook's ``(z_alpha + z_power)**2 * (discordance - difference**2) / (margin + difference)**2``
    (Nam 1997; Lachenbruch & Lynch 1998).

    Args:
        margin: As of `PairedPlan`.
        power: From 0.5 to below 1; 0.9 is usual.
        discordance: As of `PairedPlan`; a guess too low costs power, one too high costs episodes.
        expected_difference: As of `PairedPlan`; 0 for a policy that is expected to be as good as the other.
        alpha: As of `PairedPlan`.

    Returns:
        The plan.

    Raises:
        UserError: If a number is out of range, or more pairs than `MOST` would be needed.

    Example:
        >>> plan_pairs(margin=0.05, discordance=0.1).pairs
        451
    """
    check_margin(margin, alpha)
    _check_assumed(margin, discordance, expected_difference)
    if not 0.5 <= power < 1:
        raise UserError(f"power is {power}; allowed: 0.5 to below 1; 0.8 and 0.9 are usual")

    def enough(n: int) -> bool:
        return noninferiority_power(n, margin, discordance, expected_difference, alpha) >= power

    too_few, pairs = 0, 1
    while not enough(min(pairs, MOST)):
        if pairs >= MOST:
            raise UserError(
                f"margin is {margin}; with discordance={discordance} and "
                f"expected_difference={expected_difference}, a power of {power} would take more than {MOST:,} "
                "pairs of episodes; choose a wider margin, or fix their number (episodes)"
            )
        too_few, pairs = pairs, 2 * pairs
    pairs = min(pairs, MOST)
    while pairs - too_few > 1:
        middle = (too_few + pairs) // 2
        too_few, pairs = (too_few, middle) if enough(middle) else (middle, pairs)
    return PairedPlan(pairs, margin, discordance, expected_difference, alpha)


def check_margin(margin: float, alpha: float) -> None:
    """Refuse margins and errors that are out of range.

    Raises:
        UserError: If one is.
    """
    if not 0 < margin < 1:
        raise UserError(f"margin is {margin}; allowed: above 0 and below 1; 0.02 means 2 percentage points")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha is {alpha}; allowed: above 0 and below 0.5; 0.025 is usual")


def _check_assumed(margin: float, discordance: float, expected: float) -> None:
    if not -margin < expected < 1:
        raise UserError(
            f"expected_difference is {expected}; allowed: above -margin = {-margin} and below 1; a policy that is "
            "expected to be worse by the margin or more is not planned to be shown not inferior"
        )
    if not abs(expected) <= discordance <= 1:
        raise UserError(
            f"discordance is {discordance}; allowed: {abs(expected)} (the size of expected_difference) to 1; it is "
            "the share of pairs in which exactly one of the two policies succeeds"
        )
