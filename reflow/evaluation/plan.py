"""The plan of a paired comparison, in the folder of its results before the first episode, and held to afterwards.

``plans.json`` holds every plan that was begun there, in order. Seeds belong to one plan: who wants more pairs, or
another margin, plans anew on fresh seeds, and the results say which plan of the folder they are of. Left out: how
many pairs are enough (``reflow.metrics.paired_plan``).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from reflow.errors import UserError
from reflow.files import read_json, write_json
from reflow.metrics.paired_plan import PairedPlan
from reflow.simulator.journal import Episode
from reflow.typed import WrongTypeError, typed

PLANS = "plans.json"


class OtherPlanError(UserError):
    """The folder holds episodes of another plan on the same seeds."""


@dataclass(frozen=True)
class Plan:
    """One comparison that was, or is to be, planned.

    Attributes:
        first_seed: of the episodes.
        paired: how many pairs, and what is to be shown by them.
        student_steps: step count of the student that it is about; others are played beside it.
        teacher_steps: of the teacher, likewise.
        played_before: episodes on its seeds that had been played when it was made; should be 0.
        number: of the plan in its folder, from 1.
    """

    first_seed: int
    paired: PairedPlan
    student_steps: int
    teacher_steps: int
    played_before: int = 0
    number: int = 1

    @property
    def seeds(self) -> range:
        """Of all its episodes."""
        return range(self.first_seed, self.first_seed + self.paired.pairs)

    def sentences(self) -> tuple[str, ...]:
        """What a reader should know of it."""
        said = [self.paired.sentence()]
        if self.number > 1:
            said.append(
                f"This is plan {self.number} of its folder: of several tests one may succeed by chance; name all."
            )
        if self.played_before:
            said.append(
                f"The plan was made after {self.played_before:,} of its episodes had been played: it was not fixed "
                "beforehand."
            )
        return tuple(said)


def plan_in(folder: Path, wanted: Plan, played: Collection[Episode]) -> tuple[Plan, bool]:
    """The plan that holds for the wanted seeds.

    A plan of which nothing was played may be changed. One that was begun is gone on with, also by a command that asks
    for fewer pairs: that plays a part.

    Args:
        folder: of the results.
        wanted: by this command.
        played: every episode in that folder.

    Returns:
        The plan, and whether it is a new one.

    Raises:
        OtherPlanError: episodes were played by a plan that says otherwise.
    """
    plans = _read(folder)
    begun = [plan for plan in plans if any(episode.seed in plan.seeds for episode in played)]
    for plan in begun:
        if plan.first_seed != wanted.first_seed and _overlap(plan.seeds, wanted.seeds):
            raise OtherPlanError(
                f"first_seed={wanted.first_seed}: the seeds {wanted.seeds[0]} to {wanted.seeds[-1]} are in part "
                f"those of a plan that was begun in {folder} ({plan.seeds[0]} to {plan.seeds[-1]}); {_anew(begun)}"
            )
        if plan.first_seed == wanted.first_seed:
            if differing := list(_differences(plan, wanted)):
                raise OtherPlanError(
                    f"{folder / PLANS}: episodes were played by another plan:\n  "
                    + "\n  ".join(differing)
                    + "\nA plan is not changed once its episodes are played, or the verdict errs more often than it "
                    f"says. Go on with the planned values, or {_anew(begun)}"
                )
            return plan, False
    before = sum(episode.seed in wanted.seeds for episode in played)
    return replace(wanted, played_before=before, number=len(begun) + 1), True


def keep_plan(folder: Path, wanted: Plan, played: Collection[Episode]) -> Plan:
    """Writes the plan down, where it is a new one; arguments and errors as of `plan_in`."""
    plan, new = plan_in(folder, wanted, played)
    if new:
        begun = [old for old in _read(folder) if any(episode.seed in old.seeds for episode in played)]
        write_json(folder / PLANS, [_plain(one) for one in (*begun, plan)])
    return plan


def played_otherwise(plan: Plan, played: Collection[Episode], n_action_steps: int | None) -> tuple[str, ...]:
    """What a reader should know of tests beside the planned one, on its own seeds, in a world that waits.

    Args:
        plan: that is held to.
        played: every episode in its folder.
        n_action_steps: actions played of each chunk now; None for the policies' own number.
    """
    others = {
        episode.n_action_steps
        for episode in played
        if episode.seed in plan.seeds and not episode.delay and episode.n_action_steps != n_action_steps
    }
    if not others:
        return ()
    numbers = ", ".join("null" if n is None else str(n) for n in sorted(others, key=lambda n: n or 0))
    return (
        f"Its seeds were also played with n_action_steps={numbers}: of several tests one may succeed by chance; "
        "name all.",
    )


def _differences(there: Plan, now: Plan) -> list[str]:
    values = {
        "margin": (there.paired.margin, now.paired.margin),
        "alpha": (there.paired.alpha, now.paired.alpha),
        "first of student_steps": (there.student_steps, now.student_steps),
        "first of teacher_steps": (there.teacher_steps, now.teacher_steps),
    }
    said = [f"{name}: {old} planned, {new} now" for name, (old, new) in values.items() if old != new]
    if now.paired.pairs > there.paired.pairs:
        said.append(f"episodes: {there.paired.pairs} planned, {now.paired.pairs} now")
    return said


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop


def _anew(begun: Collection[Plan]) -> str:
    return f"plan anew on fresh seeds: first_seed={max(plan.seeds.stop for plan in begun)}"


def _plain(plan: Plan) -> dict[str, Any]:
    values = {name: value for name, value in asdict(plan).items() if name not in ("paired", "number")}
    return values | asdict(plan.paired) | {"power": plan.paired.power}


def _nested(entry: Mapping[str, Any]) -> dict[str, Any]:
    """What `_plain` made flat; the power follows from the rest."""
    of_pairs = {field.name for field in fields(PairedPlan)}
    own = {key: value for key, value in entry.items() if key not in of_pairs | {"power"}}
    return own | {"paired": {key: value for key, value in entry.items() if key in of_pairs}}


def _list(path: Path) -> list[dict[str, Any]]:
    found = read_json(path)
    if not (isinstance(found, list) and all(isinstance(entry, dict) for entry in found)):
        raise WrongTypeError("a list of objects is expected")
    return found


def _read(folder: Path) -> list[Plan]:
    path = folder / PLANS
    if not path.is_file():
        return []
    try:
        return [typed(Plan, _nested(entry) | {"number": n}) for n, entry in enumerate(_list(path), start=1)]
    except WrongTypeError as error:
        raise UserError(
            f"{path} holds no plans ({error}); copy it anew, or choose another folder (run_dir=DIR)"
        ) from error
