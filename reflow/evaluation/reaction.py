"""Success at equal reaction time: who plays how late, and what came of it.

A latency is that of a chunk, given in ms for all contenders alike, or each one's own, measured. It is played in whole
control steps (``reflow.simulator.delay``). Left out: playing (``reflow.simulator.play``), measuring
(``reflow.evaluation.measured``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median

from lerobot.configs import PreTrainedConfig

from reflow.metrics import wilson_interval
from reflow.metrics.paired import compare_paired
from reflow.metrics.paired_plan import PairedPlan
from reflow.policies.joining import TRAINED
from reflow.reports.reaction import (
    MEASURED,
    ReactionRow,
    best_rows,
    latency_name,
    measured_name,
    reaction_rows,
    row_name,
)
from reflow.simulator.actor import Contender
from reflow.simulator.delay import control_steps
from reflow.simulator.journal import Episode
from reflow.simulator.success import Success, comparison_figures, comparison_sentence, differing_seeds

_BESIDE = (
    "The plan is for a world that waits. At each latency its pairs, margin and alpha hold for a comparison of their "
    "own, each policy at the number of actions a chunk that solves most; words are not corrected for their number."
)


@dataclass(frozen=True)
class Trial:
    """A contender at a latency.

    Attributes:
        contender: with the delay that the latency is, in control steps, and a number of actions.
        latency: ``measured``, or ``100ms``.
    """

    contender: Contender
    latency: str

    @property
    def name(self) -> str:
        """``teacher@10``, or ``teacher@10-guided``."""
        name = f"{self.contender.name}@{self.contender.num_steps}"
        return name if self.contender.rtc is None else f"{name}-{self.contender.rtc}"

    @property
    def figure(self) -> str:
        """Of its success."""
        assert self.contender.n_action_steps is not None
        return row_name(self.name, self.latency, self.contender.n_action_steps)


def trials_of(
    contenders: Sequence[Contender],
    delays: Sequence[float | str],
    action_steps: Sequence[int | None],
    latencies: Mapping[str, float],
    fps: float,
    ways: Sequence[str | None] = (None,),
) -> list[Trial]:
    """Every contender at every latency and number of actions.

    Args:
        contenders: as they play in a world that waits.
        delays: in ms, or ``measured``.
        action_steps: actions played of each chunk; None for the policy's own number.
        latencies: measured, in ms, by ``teacher@10``.
        fps: control steps a second.
        ways: in which a chunk follows the one before. Students alone are trained for one; where it is the only
            one, the teacher plays without.
    """
    untrained = [way for way in ways if way != TRAINED] or [None]
    own = {one.folder: PreTrainedConfig.from_pretrained(one.folder).n_action_steps for one in contenders}
    trials: dict[Trial, None] = {}
    for delay in delays:
        for one in contenders:
            ms = latencies[f"{one.name}@{one.num_steps}"] if delay == MEASURED else float(delay)
            late, latency = control_steps(ms, fps), MEASURED if delay == MEASURED else latency_name(ms)
            for n, way in product(action_steps, untrained if one.name == "teacher" else ways):
                timed = Contender(one.name, one.folder, one.num_steps, n or own[one.folder], late, way)
                trials[Trial(timed, latency)] = None
    return list(trials)


def reaction_of(
    trials: Sequence[Trial],
    episodes: Sequence[Episode],
    latencies: Mapping[str, float],
    plan: PairedPlan,
    joints: Collection[int] = (),
) -> Success:
    """Sums up episodes, and holds the students against the first teacher at the same latency, paired.

    Each at the number of actions with which it succeeds most there. That is chosen on the very episodes that are
    shown, for all alike; a single number of actions, on other seeds, confirms it. The plan is for a world that waits;
    here its number of pairs, margin and alpha hold at every latency, and nothing is concluded before all are played.

    Args:
        trials: who played; the teachers first.
        episodes: at least those of all trials, on the same seeds, as many as planned or fewer.
        latencies: measured, in ms, by ``teacher@10``.
        plan: fixed before looking.
        joints: action dimensions whose jumps are told; grippers jump by right.

    Returns:
        Comparisons and figures; ``differing`` is of the first student and the first teacher as they play first.
    """
    played: dict[Contender, dict[int, bool]] = {}
    jumps: dict[Contender, list[float]] = {}
    by_key = {trial.contender.key(0): trial.contender for trial in trials}
    for episode in episodes:
        contender = by_key[episode.key._replace(seed=0)]
        played.setdefault(contender, {})[episode.seed] = episode.success
        if joints and episode.jumps:
            jumps.setdefault(contender, []).append(max(episode.jumps[joint] for joint in joints))
    metrics = {measured_name(name): ms for name, ms in latencies.items()}
    for trial in trials:
        metrics |= _success(trial, list(played[trial.contender].values()))
        if found := jumps.get(trial.contender):
            metrics |= {f"{trial.figure}/jump": median(found), f"{trial.figure}/jump_max": max(found)}
    best = {(row.latency, row.name): row for row in best_rows(reaction_rows(metrics))}
    outcomes = {trial.figure: played[trial.contender] for trial in trials}
    sentences, paired = [_BESIDE], {}
    for latency, first, name in _pairs(trials):
        one, other = best[latency, name], best[latency, first]
        comparison = compare_paired(outcomes[_figure(one)], outcomes[_figure(other)], plan.margin, plan.alpha)
        told = f"reaction/{name}_vs_{first}/{latency}"
        paired[told] = comparison
        sentences.append(comparison_sentence(comparison, plan, _label(one), _label(other)))
        metrics |= {f"{told}/{key}": value for key, value in comparison_figures(comparison, plan).items()}
    differing = differing_seeds(*(_first(trials, played, who) for who in ("student", "teacher")))
    return Success((), tuple(sentences), paired, differing, metrics)


def _pairs(trials: Sequence[Trial]) -> list[tuple[str, str, str]]:
    """Latency, first teacher, student: all there are."""
    first = next((trial.name for trial in trials if trial.contender.name == "teacher"), None)
    found = [
        (trial.latency, first, trial.name)
        for trial in trials
        if first is not None and trial.contender.name != "teacher"
    ]
    return list(dict.fromkeys(found))


def _first(
    trials: Sequence[Trial], played: Mapping[Contender, Mapping[int, bool]], who: str
) -> Mapping[int, bool]:
    return played[next(trial.contender for trial in trials if trial.contender.name == who)]


def _success(trial: Trial, successes: Sequence[bool]) -> dict[str, float]:
    low, high = wilson_interval(sum(successes), len(successes))
    return {
        trial.figure: sum(successes) / len(successes),
        f"{trial.figure}/low": low,
        f"{trial.figure}/high": high,
        f"{trial.figure}/episodes": float(len(successes)),
        f"{trial.figure}/delay": float(trial.contender.delay),
    }


def _figure(row: ReactionRow) -> str:
    return row_name(row.name, row.latency, row.n_action_steps)


def _label(row: ReactionRow) -> str:
    return f"{row.name} at {row.ms:.4g} ms ({row.n_action_steps} actions a chunk)"
