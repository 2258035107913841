"""What paired episodes say: is the student better than the teacher, as good, or worse, or is it not shown?

Two policies run the same episodes (same seed, same start), so that each episode is a pair of outcomes, and only
pairs that differ tell the two apart. Every statement is for a number of pairs that was fixed before they were played.

Left out: fixing it (`reflow.metrics.paired_plan`), the interval of a single success rate
(`reflow.metrics.wilson_interval`), and the running of episodes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from scipy.stats import binomtest

from reflow.errors import UserError
from reflow.metrics.paired_plan import ALPHA, check_margin
from reflow.metrics.paired_score import tango_interval

type Conclusion = Literal["better", "not inferior", "not shown", "inferior"]


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

    @property
    def conclusion(self) -> Conclusion:
        """What is shown of the first policy, held against the second.

        Two questions in a fixed sequence: is it not inferior, and, only where that is shown, is it better? The
        second is asked at the same ``alpha``: who errs in it has erred in the first, or the first was true, so
        both together err no more often than ``alpha`` says (Maurer, Hothorn & Lehmacher 1995; CPMP 2000,
        "Switching between superiority and non-inferiority").
        """
        if self.low > 0:
            return "better"
        if self.low > -self.margin:
            return "not inferior"
        return "inferior" if self.high < -self.margin else "not shown"

    @property
    def noninferior(self) -> bool | None:
        """True where the first is shown to be worse by less than the margin, if at all; False where by more."""
        return {"not shown": None, "inferior": False}.get(self.conclusion, True)

    @property
    def superior(self) -> bool | None:
        """Whether the first is shown to be better; None where that is not asked, before the other is shown."""
        return self.conclusion == "better" if self.noninferior else None

    @property
    def significantly_worse(self) -> bool:
        """Whether the first succeeded less often by more than chance (McNemar, two-sided at ``2 * alpha``)."""
        return self.difference < 0 and self.mcnemar_p < 2 * self.alpha

    @property
    def discordance(self) -> float:
        """Share of pairs that differ."""
        return (self.only_first + self.only_second) / self.n

    def sentence(self, first_name: str, second_name: str) -> str:
        """Say it to people.

        Args:
            first_name: Of the first policy, say ``student@1``.
            second_name: Of the second.

        Returns:
            One sentence: the conclusion, then the figures it rests on.
        """
        points = f"{100 * self.margin:g} percentage points"
        concluded = {
            "better": f"{first_name} is better than {second_name}",
            "not inferior": f"{first_name} is not inferior to {second_name} at a margin of {points}",
            "inferior": f"{first_name} is inferior to {second_name} by more than {points}",
            "not shown": f"{first_name} is not shown to be not inferior to {second_name} at a margin of {points}",
        }[self.conclusion]
        if self.significantly_worse and self.conclusion in ("not inferior", "not shown"):
            but = "though" if self.conclusion == "not inferior" else "and is"
            concluded += f", {but} significantly worse"
        p = f"= {self.mcnemar_p:.3f}" if self.mcnemar_p >= 0.001 else "< 0.001"
        return (
            f"{concluded}: {self.rates} (difference {100 * self.difference:+.1f} points, "
            f"{100 - 200 * self.alpha:g} % interval {100 * self.low:+.1f} to {100 * self.high:+.1f}, McNemar p {p})."
        )

    @property
    def rates(self) -> str:
        """Both success rates, and of how many pairs, in words."""
        return (
            f"{100 * (self.both + self.only_first) / self.n:.1f} % against "
            f"{100 * (self.both + self.only_second) / self.n:.1f} % success in {self.n:,} paired episodes"
        )


def compare_paired(
    first: Mapping[int, object],
    second: Mapping[int, object],
    margin: float = 0.02,
    alpha: float = ALPHA,
) -> PairedComparison:
    """Compare two policies on the same seeds.

    Args:
        first: Seed of each episode, and whether the first policy succeeded in it.
        second: The same of the second policy, on the same seeds in any order.
        margin: See `compare_counts`.
        alpha: See `compare_counts`.

    Returns:
        The comparison.

    Raises:
        UserError: If there is no episode, the seeds differ, an outcome is not true or false, or a number is
            out of range.

    Example:
        >>> teacher = {seed: seed % 5 != 0 for seed in range(1000)}
        >>> student = teacher | {seed: not teacher[seed] for seed in range(12)}
        >>> comparison = compare_paired(student, teacher)
        >>> comparison.difference, comparison.conclusion
        (-0.006, 'not inferior')
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
    )


def compare_counts(
    both: int,
    only_first: int,
    only_second: int,
    neither: int,
    margin: float = 0.02,
    alpha: float = ALPHA,
) -> PairedComparison:
    """Compare two policies by how their pairs of episodes ended.

    What is concluded holds for a number of pairs that was fixed beforehand. Who looks, and plays on until it
    pleases, errs more often than ``alpha`` says.

    Args:
        both: Pairs in which both succeeded, 0 or more.
        only_first: Pairs in which only the first policy did.
        only_second: Pairs in which only the second did.
        neither: Pairs in which neither did.
        margin: By how much the first may be worse and still count as not inferior, between 0 and 1. Fix it
            before the episodes are played.
        alpha: One-sided error, between 0 and 0.5.

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
    check_margin(margin, alpha)
    low, high = tango_interval(only_first, only_second, n, 1 - 2 * alpha)
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
    )
