"""Teacher and student in the simulator: the same seeds, the same noise, several step counts, several processes.

Every finished episode goes straight into a journal; the same call again plays only what is missing. Left out: what
the successes say about teacher and student (``reflow.simulator.success``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from lerobot.configs import PreTrainedConfig
from safetensors.numpy import load_file, save_file

from reflow.errors import UserError
from reflow.files import replace_file
from reflow.policies import fingerprint, saved_rename
from reflow.simulator.actor import Conditions, Contender
from reflow.simulator.delay import check_idle
from reflow.simulator.environment import check_fit
from reflow.simulator.journal import Episode, Journal, Key
from reflow.simulator.rollout import Player
from reflow.simulator.runtime import check_runtime
from reflow.simulator.workers import WorkerDiedError, run_jobs

ACTIONS = "actions"


@dataclass(frozen=True)
class _Job:
    contender: Contender
    seed: int
    keep_actions: bool

    def __str__(self) -> str:
        return f"the episode of seed {self.seed} ({self.contender.label})"

    @property
    def key(self) -> Key:
        return self.contender.key(self.seed)


def simulate(
    conditions: Conditions,
    contenders: Sequence[Contender],
    seeds: Sequence[int],
    *,
    folder: Path,
    processes: int = 2,
    keep_actions: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[Episode]:
    """Lets every contender play the episode of every seed.

    Args:
        conditions: environment, noise, device.
        contenders: policies at step counts; one name is one folder.
        seeds: of the episodes, 0 to 2**32 - 1, each once.
        folder: where ``episodes.jsonl`` is, or will be.
        processes: worker processes, one thread each; 0 plays in this process.
        keep_actions: of the first so many seeds, the executed actions are kept (:func:`load_actions`).
        progress: called with the number of finished episodes and of all.

    Returns:
        One episode per contender and seed, in that order.

    Raises:
        UserError: an argument out of range, or policies and environment that do not fit.
        OtherEvaluationError: ``folder`` holds episodes of another environment, policy or noise.
        WorkerDiedError: a worker was killed. What was finished is safe.
    """
    _check(conditions, contenders, seeds, processes)
    jobs = [
        _Job(contender, seed, number < keep_actions)
        for number, seed in enumerate(seeds)
        for contender in contenders
    ]
    with Journal(folder, _identity(conditions, contenders)) as journal:
        todo = [
            job
            for job in jobs
            if job.key not in journal.finished
            or (job.keep_actions and not _actions_file(folder, job.key).is_file())
        ]
        done = len(jobs) - len(todo)
        if progress is not None:
            progress(done, len(jobs))
        try:
            for job, (episode, actions) in run_jobs(partial(_make_worker, conditions), todo, processes):
                if actions is not None:
                    replace_file(_actions_file(folder, job.key), partial(save_file, {"action": actions}))
                journal.append(episode)
                done += 1
                if progress is not None:
                    progress(done, len(jobs))
        except WorkerDiedError as error:
            raise WorkerDiedError(
                f"{error}. {done} of {len(jobs)} episodes are safe in {journal.path}; the same command "
                "plays the others"
            ) from error
        except KeyboardInterrupt as error:
            error.add_note(f"{done} of {len(jobs)} episodes are safe in {journal.path}")
            raise
        finished = journal.finished
    return [finished[contender.key(seed)] for contender in contenders for seed in seeds]


def finished_episodes(
    conditions: Conditions, contenders: Sequence[Contender], folder: Path
) -> dict[Key, Episode]:
    """What these contenders, and others under the same conditions, have finished.

    Args:
        conditions: as of :func:`simulate`.
        contenders: likewise.
        folder: likewise; made where it is missing.

    Raises:
        OtherEvaluationError: ``folder`` holds episodes of another environment, policy or noise.
    """
    with Journal(folder, _identity(conditions, contenders)) as journal:
        return journal.finished


def load_actions(folder: Path, episodes: Sequence[Episode]) -> Iterator[tuple[Episode, np.ndarray]]:
    """The executed actions that :func:`simulate` kept.

    Args:
        folder: as given to :func:`simulate`.
        episodes: what it returned.

    Yields:
        An episode and its actions, float32 [T, a], physical units; episodes without are left out.
    """
    for episode in episodes:
        file = _actions_file(folder, episode.key)
        if file.is_file():
            yield episode, load_file(file)["action"]


def _check(
    conditions: Conditions, contenders: Sequence[Contender], seeds: Sequence[int], processes: int
) -> None:
    if processes < 0:
        raise UserError(f"processes={processes}; allowed: 0 (this process) or more")
    if not seeds or not contenders:
        raise UserError(f"{len(contenders)} contenders, {len(seeds)} seeds; an evaluation needs one of each")
    bad = [seed for seed in seeds if not 0 <= seed < 2**32]
    if bad or len(set(seeds)) < len(seeds):
        raise UserError(f"seeds must be different numbers from 0 to 2**32 - 1; got {bad or list(seeds)}")
    folders: dict[str, Path] = {}
    for contender in contenders:
        if contender.num_steps < 1:
            raise UserError(f"{contender.name}: num_steps={contender.num_steps}; allowed: 1 or more")
        if folders.setdefault(contender.name, contender.folder) != contender.folder:
            raise UserError(
                f"{contender.name} names two policies, {folders[contender.name]} and {contender.folder}; "
                "give each a name of its own"
            )
    if len({contender.key(0) for contender in contenders}) < len(contenders):
        raise UserError(f"a contender stands twice in {[contender.label for contender in contenders]}")
    config = conditions.env.make_config()
    _check_delays(conditions, contenders, getattr(config, "episode_length", None))
    for name, path in folders.items():
        policy = PreTrainedConfig.from_pretrained(path)
        # A policy without one gives no more of a chunk than it plays.
        chunk: int = getattr(policy, "chunk_size", None) or policy.n_action_steps
        asked = [
            one.n_action_steps for one in contenders if one.name == name and one.n_action_steps is not None
        ]
        if bad := [steps for steps in asked if not 1 <= steps <= chunk]:
            raise UserError(
                f"n_action_steps={bad[0]}; allowed for the {name}: 1 to {chunk}, the steps "
                "of its chunk, or null for its own"
            )
        check_fit(config, policy, conditions.env.rename_for(policy, saved_rename(path)), name)
    check_runtime(conditions.env)


def _check_delays(
    conditions: Conditions, contenders: Sequence[Contender], episode_length: int | None
) -> None:
    """A delay must leave something to be played, and the environment say how a robot waits."""
    for one in contenders:
        if one.delay < 0:
            raise UserError(f"{one.name}: delay={one.delay} control steps; allowed: 0 or more")
        if episode_length is not None and one.delay >= episode_length:
            raise UserError(
                f"{one.label}: thinks for {one.delay} control steps, and an episode has {episode_length}, so that it "
                "ends before the first command; give a shorter delay, or a longer episode (env.episode_length)"
            )
        if one.delay:
            check_idle(conditions.env.idle)


def _identity(conditions: Conditions, contenders: Sequence[Contender]) -> dict[str, Any]:
    return {
        "env": conditions.env.identity(),
        "noise_seed": conditions.noise_seed,
        **({"delayed": {"idle": conditions.env.idle}} if any(one.delay for one in contenders) else {}),
        "policies": {
            name: {"fingerprint": fingerprint(folder)}
            for name, folder in {contender.name: contender.folder for contender in contenders}.items()
        },
    }


def _make_worker(conditions: Conditions) -> Callable[[_Job], tuple[Episode, np.ndarray | None]]:
    player = Player(conditions)

    def play(job: _Job) -> tuple[Episode, np.ndarray | None]:
        episode, actions = player.play(job.contender, job.seed)
        return episode, actions if job.keep_actions else None

    return play


def _actions_file(folder: Path, key: Key) -> Path:
    told = f"{key.contender}-{key.num_steps}-{key.seed}"
    if key.n_action_steps is not None:
        told += f"-n{key.n_action_steps}"
    told += f"-late{key.delay}" * (key.delay > 0)
    return folder / ACTIONS / f"{told if key.rtc is None else f'{told}-{key.rtc}'}.safetensors"
