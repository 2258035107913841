"""What paired episodes say: is the student as good as the teacher, is it worse, or is it too early to tell?

Two policies run the same episodes (same seed, same start), so that each episode is a pair of outcomes, and only
pairs that differ tell the two apart.

Left out: the interval of a single success rate (`reflow.metrics.wilson_interval`), and the running of episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

from scipy.stats import binomtest, norm

from reflow.errors import UserError
from reflow.metrics.paired_score import score_excess, tango_interval


@dataclass(frozen=True)
class PairedComparison:
    """Two policies on the same episodes.

    Attributes:
        n: Pairs of episodes.
        both: Pairs in which both succeeded.
        only_first: Pairs in which only the first policy did.
        only_second: Pairs in which only the second did.
        neither: Pairs in which neither did.
        difference: Success rate of the first policy less that of the second, -1 to 1.
        low: Lower end of the two-sided ``1 - 2 * alpha`` interval of the difference (Tango 1998).
        high: Its upper end.
        mcnemar_p: Two-sided p of the exact McNemar test: could the two be equally good?
        margin: By how much the first may be worse and still count as not inferior; fixed beforehand.
        alpha: One-sided error of every statement here.
        noninferior: True where the first is shown to be worse by less than the margin, if at all; False where
            it is shown to be worse by more; None where the episodes do not tell.
        more_episodes: Where they do not tell: how many more pairs would, see `compare_counts`. Else None.
    """

    n: int
    both: int
    only_first: int
    only_second: int
    neither: int
    difference: float
    low: float
    high: float
    mcnemar_p: float
    margin: float
    alpha: float
    noninferior: bool | None
    more_episodes: int | None

    @property
    def significantly_worse(self) -> bool:
        """Whether the first succeeded less often by more than chance (McNemar, two-sided at ``2 * alpha``)."""
        return self.difference < 0 and self.mcnemar_p < 2 * self.alpha

    def sentence(self, first_name: str, second_name: str) -> str:
        """Say it to people.

        Args:
            first_name: Of the first policy, say ``student@1``.
            second_name: Of the second.

        Returns:
            One sentence: the verdict, then the figures it rests on.
        """
        points = f"{100 * self.margin:g} percentage points"
        if self.noninferior:
            verdict = f"{first_name} is not inferior to {second_name} at a margin of {points}"
            if self.significantly_worse:
                verdict += ", though significantly worse"
        elif self.noninferior is False:
            verdict = f"{first_name} is inferior to {second_name} by more than {points}"
        elif self.significantly_worse:
            verdict = (
                f"{first_name} is significantly worse than {second_name}, but there are not enough episodes to "
                f"say whether by more than {points}"
            )
        else:
            verdict = (
                f"Not enough episodes to say whether {first_name} is inferior to {second_name} by more than "
                f"{points}"
            )
        p = f"= {self.mcnemar_p:.3f}" if self.mcnemar_p >= 0.001 else "< 0.001"
        rates = (
            f"{100 * (self.both + self.only_first) / self.n:.1f} % against "
            f"{100 * (self.both + self.only_second) / self.n:.1f} % success in {self.n:,} paired episodes "
            f"(difference {100 * self.difference:+.1f} points, {100 - 200 * self.alpha:g} % interval "
            f"{100 * self.low:+.1f} to {100 * self.high:+.1f}, McNemar p {p})"
        )
        more = "" if self.more_episodes is None else f"; about {self.more_episodes:,} more needed"
        return f"{verdict}: {rates}{more}."


def compare_paired(
    first: Mapping[int, object],
    second: Mapping[int, object],
    margin: float = 0.02,
    alpha: float = 0.025,
    power: float = 0.8,
) -> PairedComparison:
    """Compare two policies on the same seeds.

    Args:
        first: Seed of each episode, and whether the first policy succeeded in it.
        second: The same of the second policy, on the same seeds in any order.
        margin: See `compare_counts`.
        alpha: See `compare_counts`.
        power: See `compare_counts`.

    Returns:
        The comparison.

    Raises:
        UserError: If there is no episode, the seeds differ, an outcome is not true or false, or a number is
            out of range.

    Example:
        >>> teacher = {seed: seed % 5 != 0 for seed in range(1000)}
        >>> student = teacher | {seed: not teacher[seed] for seed in range(12)}
        >>> comparison = compare_paired(student, teacher)
        >>> comparison.difference, comparison.noninferior
        (-0.006, True)
    """
    if missing := first.keys() ^ second.keys():
        raise UserError(
            f"first has {len(first)} episodes, second {len(second)}; {len(missing)} seeds are in one of them only "
            f"({', '.join(map(str, sorted(missing)[:3]))}, ...); both must have the same seeds: run the missing "
            "episodes, or leave them out of both"
        )
    for name, outcomes in (("first", first), ("second", second)):
        for seed, success in outcomes.items():
            if success not in (False, True):
                raise UserError(
                    f"{name} has outcome {success!r} at seed {seed}; allowed: true or false; compare graded "
                    "rewards by other means"
                )
    pairs = [(bool(first[seed]), bool(second[seed])) for seed in first]
    return compare_counts(
        both=pairs.count((True, True)),
        only_first=pairs.count((True, False)),
        only_second=pairs.count((False, True)),
        neither=pairs.count((False, False)),
        margin=margin,
        alpha=alpha,
        power=power,
    )


def compare_counts(
    both: int,
    only_first: int,
    only_second: int,
    neither: int,
    margin: float = 0.02,
    alpha: float = 0.025,
    power: float = 0.8,
) -> PairedComparison:
    """Compare two policies by how their pairs of episodes ended.

    One-sided 2.5 % is what non-inferiority is usually held to (ICH E9, 1998), and makes one picture of all
    statements: the 95 % interval that people see is the one that decides.

    ``more_episodes`` plans for a student that is as good as its teacher: the number of further pairs after which
    non-inferiority is shown with probability ``power``, what was seen so far included, if pairs go on to differ
    as often as they did and in either direction alike. It is an estimate, and a poor one after few pairs. Who
    goes on until the verdict pleases errs more often than ``alpha`` says: run that number, then judge.

    Args:
        both: Pairs in which both succeeded, 0 or more.
        only_first: Pairs in which only the first policy did.
        only_second: Pairs in which only the second did.
        neither: Pairs in which neither did.
        margin: By how much the first may be worse and still count as not inferior, between 0 and 1. Fix it
            before the episodes are played.
        alpha: One-sided error, between 0 and 0.5.
        power: Of the plan, from 0.5 to below 1.

    Returns:
        The comparison.

    Raises:
        UserError: If a number is out of range, or there is no pair.
    """
    counts = {"both": both, "only_first": only_first, "only_second": only_second, "neither": neither}
    for name, count in counts.items():
        if count < 0:
            raise UserError(f"{name} is {count}; allowed: 0 or more; it counts pairs of episodes")
    n = sum(counts.values())
    if n < 1:
        raise UserError("there are 0 pairs of episodes; allowed: 1 or more; run some episodes first")
    if not 0 < margin < 1:
        raise UserError(f"margin is {margin}; allowed: above 0 and below 1; 0.02 means 2 percentage points")
    if not 0 < alpha < 0.5:
        raise UserError(f"alpha is {alpha}; allowed: above 0 and below 0.5; 0.025 is usual")
    if not 0.5 <= power < 1:
        raise UserError(f"power is {power}; allowed: 0.5 to below 1; 0.8 and 0.9 are usual")
    low, high = tango_interval(only_first, only_second, n, 1 - 2 * alpha)
    undecided = low <= -margin <= high
    discordant = only_first + only_second
    return PairedComparison(
        n=n,
        **counts,
        difference=(only_first - only_second) / n,
        low=low,
        high=high,
        mcnemar_p=float(binomtest(only_first, discordant, 0.5).pvalue) if discordant else 1.0,
        margin=margin,
        alpha=alpha,
        noninferior=None if undecided else low > -margin,
        more_episodes=_more_episodes(only_first, only_second, n, margin, alpha, power) if undecided else None,
    )


def _more_episodes(b: int, c: int, n: int, margin: float, alpha: float, power: float) -> int:
    z, z_power = (float(norm.ppf(p)) for p in (1 - alpha, power))
    discordance = (b + c) / n

    def enough(more: int) -> bool:
        pairs = discordance * (n + more)
        # Of what is to come, `power` will be better than this.
        net = max(b - c - z_power * sqrt(more * discordance), -pairs)
        return score_excess((pairs + net) / 2, (pairs - net) / 2, n + more, -margin, z) > 0

    too_few, more = 0, 1
    while not enough(more):
        too_few, more = more, 2 * more
    while more - too_few > 1:
        middle = (too_few + more) // 2
        too_few, more = (too_few, middle) if enough(middle) else (middle, more)
    return more
