"""The largest jump in each of LeRobot's runtimes: ``python -m tests.runtimes.measure FOLDER`` (about half an hour).

The policies are those that come with the package: the one-step student and its ten-step teacher. ``FOLDER`` keeps
what every runtime wrote and told the robot; a run that is there is not made again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from reflow.demo import embedded
from reflow.policies import RTC_FLAG, load_policy, save_policy
from tests.runtimes.stock import Bench, Played, boundaries

CHUNK = 50
RTC = "--inference.type=rtc"
OFF = "--robot.powered=false"
ASYNC = f"--actions_per_chunk={CHUNK}"


def policies(folder: Path) -> dict[str, Path]:
    """The package's student and teacher as LeRobot loads them from anywhere."""
    found = {}
    for name, source in (("student", embedded.TEACHER.with_name("student")), ("teacher", embedded.TEACHER)):
        found[name] = folder / name
        if not found[name].is_dir():
            save_policy(load_policy(source), source, found[name])
    return found


def main(folder: Path) -> None:
    """Plays what was not played yet, and prints a line for each."""
    there = policies(folder)
    student, teacher = there["student"], there["teacher"]
    runs: dict[str, Callable[[Bench], Played]] = {
        "rtc unpowered": lambda bench: bench.rollout(student, RTC, OFF, seconds=30),
        "rtc unpowered weight 1": lambda bench: bench.rollout(student, RTC, OFF, RTC_FLAG, seconds=30),
        "async unpowered": lambda bench: bench.asynchronous(student, ASYNC, OFF),
        "async": lambda bench: bench.asynchronous(student, ASYNC),
        "rtc": lambda bench: bench.rollout(student, RTC, seconds=45),
        "rtc weight 1": lambda bench: bench.rollout(student, RTC, RTC_FLAG, seconds=45),
        "async teacher": lambda bench: bench.asynchronous(teacher, ASYNC),
        "sync": lambda bench: bench.rollout(student, seconds=45),
        "sync teacher": lambda bench: bench.rollout(teacher, seconds=45),
        "eval": lambda bench: bench.eval(student),
        "eval teacher": lambda bench: bench.eval(teacher),
        "async latest": lambda bench: bench.asynchronous(student, ASYNC, "--aggregate_fn_name=latest_only"),
    }
    for name, play in runs.items():
        kept = folder / f"{name.replace(' ', '_')}.npz"
        if not kept.is_file():
            where = folder / name.replace(" ", "_")
            where.mkdir(exist_ok=True)
            played = play(Bench(where))
            meets = np.array(boundaries(played), int)
            np.savez(kept, start=played.start, actions=played.actions, meets=meets)
        found = np.load(kept)
        played = Played(found["start"], found["actions"], "")
        jumps = played.jumps
        later = jumps[CHUNK - 1 :].max(initial=0.0)
        print(
            f"{name:16} actions {len(played.actions):4}  first {played.first_jump:.2f}  in the first chunk "
            f"{jumps[: CHUNK - 1].max():.2f} (action {jumps[: CHUNK - 1].argmax() + 1})  later {later:.2f}  "
            f"chunks meet at {[(int(n), round(float(jumps[n - 1]), 2)) for n in found['meets']]}",
            flush=True,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
