"""What the simulator's episodes say: success of each contender, and of each student against its teacher."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from reflow.metrics import wilson_interval
from reflow.metrics.paired import PairedComparison, compare_paired
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
        metrics: the same, flat.
    """

    rows: tuple[SuccessRow, ...] = ()
    comparisons: tuple[str, ...] = ()
    paired: Mapping[str, PairedComparison] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)


def success_of(episodes: Iterable[Episode], margin: float) -> Success:
    """Sums up episodes.

    Every contender is held against the first teacher; the student against the teacher's other step counts too.

    Args:
        episodes: of contenders that all played the same seeds.
        margin: of non-inferiority, fixed before looking.
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
    paired: dict[str, PairedComparison] = {}
    sentences = []
    for one, other in _pairs(list(played)):
        first, second = ({e.seed: e.success for e in played[steps]} for steps in (one, other))
        comparison = compare_paired(first, second, margin)
        name = f"{_label(one)}_vs_{_label(other)}"
        paired[name] = comparison
        sentences.append(comparison.sentence(_label(one), _label(other)))
        metrics |= {f"success/{name}/{key}": value for key, value in comparison_figures(comparison).items()}
    return Success(rows, tuple(sentences), paired, metrics)


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


def comparison_figures(comparison: PairedComparison) -> dict[str, float]:
    """The flat figures of a comparison; what the episodes do not tell is left out."""
    figures = {"difference": comparison.difference, "mcnemar_p": comparison.mcnemar_p}
    if comparison.noninferior is not None:  # neither 0 nor 1 where the episodes do not tell
        figures["noninferior"] = float(comparison.noninferior)
    if comparison.more_episodes is not None:
        figures["more_episodes"] = float(comparison.more_episodes)
    return figures


def _label(steps: Steps) -> str:
    return f"{steps[0]}@{steps[1]}"
