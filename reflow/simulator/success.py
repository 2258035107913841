"""What the simulator's episodes say: success of each contender, and of each student against its teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from reflow.metrics import wilson_interval
from reflow.metrics.paired import PairedComparison, compare_paired
from reflow.metrics.paired_plan import PairedPlan
from reflow.reports import SuccessRow
from reflow.simulator.journal import Episode

type Steps = tuple[str, int]


@dataclass(frozen=True)
class Success:
    """Success in the simulator, as the report page shows it.

    Attributes:
        rows: one per contender.
        comparisons: in plain sentences.
        paired: the comparisons themselves, by their names.
        differing: seeds of which exactly one of the first student and the first teacher succeeded, in order.
        metrics: the same, flat.
    """

    rows: tuple[SuccessRow, ...] = ()
    comparisons: tuple[str, ...] = ()
    paired: Mapping[str, PairedComparison] = field(default_factory=dict)
    differing: tuple[int, ...] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)


def success_of(episodes: Iterable[Episode], plan: PairedPlan | None = None) -> Success:
    """Sums up episodes.

    Every contender is held against the first teacher; the student against the teacher's other step counts too. The
    plan is for the first student against the first teacher; before all its pairs are played nothing is concluded.

    Args:
        episodes: of contenders that all played the same seeds, as many as planned or fewer.
        plan: fixed before looking; None: nothing is compared.
    """
    played: dict[Steps, list[Episode]] = {}
    for episode in episodes:
        played.setdefault((episode.contender, episode.num_steps), []).append(episode)
    rows = tuple(_row(steps, among) for steps, among in played.items())
    metrics: dict[str, float] = {}
    for row in rows:
        name = f"success/{row.name}@{row.num_steps}"
        metrics |= {
            name: row.successes / row.episodes,
            f"{name}/low": row.low,
            f"{name}/high": row.high,
            f"{name}/reward": row.mean_reward,
            f"{name}/length": row.mean_length,
            f"{name}/episodes": float(row.episodes),
        }
    if plan is None:
        return Success(rows, metrics=metrics)
    paired: dict[str, PairedComparison] = {}
    sentences: list[str] = []
    differing: tuple[int, ...] = ()
    for number, (one, other) in enumerate(_pairs(list(played))):
        first, second = ({e.seed: e.success for e in played[steps]} for steps in (one, other))
        comparison = compare_paired(first, second, plan.margin, plan.alpha)
        name = f"{_label(one)}_vs_{_label(other)}"
        paired[name] = comparison
        sentences.append(comparison_sentence(comparison, plan, _label(one), _label(other)))
        figures = comparison_figures(comparison, plan)
        if number == 0:
            figures["primary"] = 1.0
            differing = differing_seeds(first, second)
        metrics |= {f"success/{name}/{key}": value for key, value in figures.items()}
    return Success(rows, tuple(sentences), paired, differing, metrics)


def _pairs(contenders: Sequence[Steps]) -> list[tuple[Steps, Steps]]:
    teachers = [steps for steps in contenders if steps[0] == "teacher"]
    others = [steps for steps in contenders if steps[0] != "teacher"]
    pairs = [(other, teacher) for teacher in teachers for other in others]
    return pairs + [(teacher, teachers[0]) for teacher in teachers[1:]]


def _row(steps: Steps, episodes: Sequence[Episode]) -> SuccessRow:
    name, num_steps = steps
    successes = sum(episode.success for episode in episodes)
    low, high = wilson_interval(successes, len(episodes))
    return SuccessRow(
        name=name,
        num_steps=num_steps,
        episodes=len(episodes),
        successes=successes,
        low=low,
        high=high,
        mean_reward=fmean(episode.max_reward for episode in episodes),
        mean_length=fmean(episode.length for episode in episodes),
    )


def differing_seeds(first: Mapping[int, bool], second: Mapping[int, bool]) -> tuple[int, ...]:
    """Of which exactly one succeeded, in order; by seed, whether each did."""
    return tuple(seed for seed in first if first[seed] != second[seed])


def comparison_sentence(comparison: PairedComparison, plan: PairedPlan, one: str, other: str) -> str:
    """A comparison in words, with its conclusion once all planned pairs are played."""
    if comparison.n < plan.pairs:
        return (
            f"Unfinished, {comparison.n:,} of {plan.pairs:,} planned pairs: {one} against {other}, {comparison.rates}"
            "; nothing is concluded before the last."
        )
    sentence = comparison.sentence(one, other)
    if comparison.conclusion == "not shown":
        power = f"{100 * plan.power_at(comparison.discordance):.0f} %"
        sentence += (
            f" At the {100 * comparison.discordance:.1f} % of pairs that differ, the plan's power is {power}."
        )
    return sentence


def comparison_figures(comparison: PairedComparison, plan: PairedPlan) -> dict[str, float]:
    """The same in flat figures; what is not shown, or not asked, is left out."""
    figures = {
        "difference": comparison.difference,
        "discordance": comparison.discordance,
        "planned_pairs": float(plan.pairs),
    }
    if comparison.n < plan.pairs:  # nothing that would tell whether to play on
        return figures
    figures |= {
        "low": comparison.low,
        "high": comparison.high,
        "mcnemar_p": comparison.mcnemar_p,
        "power": plan.power_at(comparison.discordance),
    }
    # Neither 0 nor 1 where it is not shown, or not asked.
    found = {"noninferior": comparison.noninferior, "superior": comparison.superior}
    return figures | {name: float(value) for name, value in found.items() if value is not None}


def _label(steps: Steps) -> str:
    return f"{steps[0]}@{steps[1]}"
