"""Several evaluations of the same two policies as one question: is the student as good on all of them together?

Each was planned, and played to its end, by itself. Pairs of different tasks are added up: a pair tells teacher and
student apart or it does not, on whichever task. Plain figures in, plain figures out. Left out: reading folders
(:mod:`reflow.config.evaluations`), showing the result (:mod:`reflow.reports.tasks_table`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reflow.errors import UserError
from reflow.metrics import wilson_interval
from reflow.metrics.paired import PairedComparison, compare_counts
from reflow.reports.folder import success_rows

_PRIMARY = re.compile(r"success/((.+)_vs_(.+))/primary")


@dataclass(frozen=True)
class Rate:
    """How often a contender succeeded.

    Attributes:
        successes: episodes solved.
        episodes: of all.
    """

    successes: int
    episodes: int

    @property
    def share(self) -> float:
        """0 to 1."""
        return self.successes / self.episodes

    @property
    def interval(self) -> tuple[float, float]:
        """95 % (Wilson)."""
        return wilson_interval(self.successes, self.episodes)


@dataclass(frozen=True)
class Task:
    """One finished evaluation.

    Attributes:
        name: of the task.
        first, second: the contenders that it was planned for, ``student@1`` and ``teacher@10``.
        rates: of all contenders, by name.
        paired: the first held against the second.
    """

    name: str
    first: str
    second: str
    rates: Mapping[str, Rate]
    paired: PairedComparison


@dataclass(frozen=True)
class Tasks:
    """All of them.

    Attributes:
        tasks: in the order they were given.
        together: their pairs added up.
    """

    tasks: tuple[Task, ...]
    together: Task

    @property
    def worst(self) -> Task:
        """Where the first loses most."""
        return min(self.tasks, key=lambda task: task.paired.difference)

    def sentences(self) -> tuple[str, ...]:
        """What they say together, and where the first loses most."""
        first, second = self.together.first, self.together.second
        worst = self.worst.paired
        lost = (
            f"{first} is behind most in {self.worst.name}: {100 * worst.difference:+.1f} points "
            f"({100 - 200 * worst.alpha:g} % interval {100 * worst.low:+.1f} to {100 * worst.high:+.1f})."
            if worst.difference < 0
            else f"{first} solves no fewer episodes than {second} in every task."
        )
        return f"{len(self.tasks)} tasks together: {self.together.paired.sentence(first, second)}", lost


def task_of(name: str, metrics: Mapping[str, float], margin: float) -> Task:
    """An evaluation's figures as a task.

    Args:
        name: of the task.
        metrics: flat, as in ``metrics.json``.
        margin: that was planned.

    Raises:
        UserError: nothing was planned and played there, or not all of it.
    """
    primary = next((found for key in metrics if (found := _PRIMARY.fullmatch(key))), None)
    if primary is None:
        raise UserError(
            f"{name}: no student was held against a teacher in a simulator that waits; give evaluations of "
            "python -m reflow.evaluate ... env=NAME"
        )
    pair, first, second = primary.groups()
    rates = {
        f"{row.name}@{row.num_steps}": Rate(row.successes, row.episodes) for row in success_rows(metrics)
    }
    n, planned = rates[first].episodes, round(metrics[f"success/{pair}/planned_pairs"])
    if n < planned:
        raise UserError(
            f"{name}: {n:,} of {planned:,} planned pairs are played; give its command again, and it goes on"
        )
    differing, difference = (
        round(n * metrics[f"success/{pair}/{key}"]) for key in ("discordance", "difference")
    )
    only_first = (differing + difference) // 2
    both = rates[first].successes - only_first
    counts = {"both": both, "only_first": only_first, "only_second": differing - only_first}
    paired = compare_counts(**counts, neither=n - sum(counts.values()), margin=margin)
    return Task(name, first, second, rates, paired)


def add_up(tasks: Sequence[Task]) -> Tasks:
    """The tasks, and all their pairs together.

    Args:
        tasks: one or more, of the same contenders and margin.

    Raises:
        UserError: there is none, two have one name, or they differ in who was compared, or in the margin.
    """
    if not tasks:
        raise UserError("evaluations is empty; give folders of python -m reflow.evaluate ... env=NAME")
    names = [task.name for task in tasks]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(
            f"evaluations: {', '.join(twice)} stands there twice, and its pairs would count twice; leave one out"
        )
    one = tasks[0]
    for task in tasks:
        for what, there, here in (
            ("who was compared", (one.first, one.second), (task.first, task.second)),
            ("the margin", one.paired.margin, task.paired.margin),
        ):
            if there != here:
                raise UserError(
                    f"evaluations: {what} differs, {there} in {one.name} and {here} in {task.name}; "
                    "give evaluations of one plan"
                )
    parts = [task.paired for task in tasks]
    paired = compare_counts(
        **{
            key: sum(getattr(part, key) for part in parts)
            for key in ("both", "only_first", "only_second", "neither")
        },
        margin=one.paired.margin,
        alpha=one.paired.alpha,
    )
    everywhere = [name for name in one.rates if all(name in task.rates for task in tasks)]
    rates = {
        name: Rate(
            sum(task.rates[name].successes for task in tasks),
            sum(task.rates[name].episodes for task in tasks),
        )
        for name in everywhere
    }
    return Tasks(tuple(tasks), Task("together", one.first, one.second, rates, paired))
