"""Records the experts of Meta-World: one data set of several tasks, each with its sentence.

    python -m reflow.demo.record_metaworld run_dir=outputs/metaworld_demos episodes=50 processes=2

The script that comes with each task plays in LeRobot's environment, and every control step becomes a row: the frame
as a SmolVLA of ``box`` pixels would see it, the state, and the script's command. Rendering is what takes the time, so
an episode is played blind first and only a success is played again with the camera. What comes out depends on the
configuration only, not on the number of processes: episodes stand in the order of their seeds, the tasks of one seed
one after the other, failures left out. Interrupted, the same command goes on.
"""

# No `from __future__ import annotations` here. A worker process runs this file as `__mp_main__`, importing `datasets`
# puts another module under that name, and annotations that are text could not be looked up any more.

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from omegaconf import DictConfig

from reflow.cli import command, plain
from reflow.data.recording import EPISODES_FILE, Layout, Recorded
from reflow.data.shrink import shrink_frame, shrunk_size
from reflow.data.waiting import WaitingEpisodes
from reflow.errors import UserError
from reflow.files import read_json
from reflow.schema import schema_of
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.metaworld import FPS, FRAME, Expert, Pushes, tasks
from reflow.simulator.rollout import Moment, Player
from reflow.simulator.runtime import check_runtime
from reflow.simulator.workers import run_jobs

CAMERA = "observation.image"


@dataclass(frozen=True)
class ExpertsConfig:
    """What to record; ``conf/record_metaworld.yaml`` holds the defaults of the command line.

    Attributes:
        root: folder to create.
        tasks: Meta-World's names, each once.
        episodes: to play of each task, 1 or more.
        seed: of the first episode of each task; evaluate on seeds outside the range used.
        pushes: how executed commands are pushed off the script.
        box: pixels of the square that the policy to train will see.
        processes: number of simulating processes; 0 is this one. A process takes 0.2 GB for each task.
    """

    root: Path
    tasks: tuple[str, ...]
    episodes: int
    seed: int = 0
    pushes: Pushes = field(default_factory=Pushes)
    box: int = 96
    processes: int = 2

    def __post_init__(self) -> None:
        for name, least in (("episodes", 1), ("seed", 0), ("processes", 0)):
            if getattr(self, name) < least:
                raise UserError(f"{name}={getattr(self, name)}; allowed: {least} or more")
        if not 1 <= self.box <= FRAME:
            raise UserError(f"box={self.box}; allowed: 1 to {FRAME} pixels, the size of Meta-World's frames")
        if not self.tasks or len(set(self.tasks)) < len(self.tasks) or not set(self.tasks) <= set(tasks()):
            raise UserError(
                f"tasks={list(self.tasks)}; allowed: one or more, each once, of {sorted(tasks())}"
            )

    @property
    def layout(self) -> Layout:
        """Of the data set; keys, state and action as LeRobot's environment has them."""
        return Layout(
            robot_type="sawyer",
            fps=FPS,
            cameras={CAMERA: shrunk_size(FRAME, FRAME, self.box)},
            state=("x", "y", "z", "gripper"),
            action=("dx", "dy", "dz", "gripper"),
        )


type Job = tuple[int, str]
"""Seed and task."""


class Stage:
    """Where the experts play; the environment of a task is made when it is first asked for, and kept.

    Args:
        pushes: how executed commands are pushed off the script.
        box: pixels of the square that frames are shrunk into.
    """

    def __init__(self, pushes: Pushes, box: int) -> None:
        self._pushes, self._box = pushes, box
        self._players: dict[str, tuple[Player, Expert]] = {}

    def close(self) -> None:
        """Closes all environments."""
        for player, _ in self._players.values():
            player.close()

    def __call__(self, job: Job) -> Recorded:
        """The episode of a seed and task; without frames where it fails."""
        blind = self.play(*job, render=False)
        return self.play(*job) if blind.success else blind

    def play(self, seed: int, task: str, *, render: bool = True) -> Recorded:
        """Plays the episode of a seed.

        Args:
            seed: of the environment and of the pushes.
            task: a name of Meta-World's.
            render: False leaves the frames out, 100 times faster.

        Returns:
            The episode to its success or its end. Its states and frames were seen before its actions, which are the
            script's, without the push.
        """
        player, expert = self._of(task)
        states, frames, labels = [], [], []

        def watch(now: Moment) -> None:
            labels.append(expert.command)
            states.append(now.blind["agent_pos"][0])
            if render:
                frames.append(shrink_frame(now.observe()["pixels"][0], self._box))

        episode, _ = player.follow(expert, seed, watch)
        return Recorded(
            seed=seed,
            task=tasks()[task],
            success=episode.success,
            frames={CAMERA: np.stack(frames)} if render else None,
            states=np.stack(states).astype(np.float32),
            actions=np.stack(labels),
            told={"task": task},
        )

    def _of(self, task: str) -> tuple[Player, Expert]:
        if task not in self._players:
            player = Player(Conditions(EnvironmentSettings("metaworld", {"task": task})))
            self._players[task] = player, Expert(player.env.envs[0].unwrapped, self._pushes)
        return self._players[task]


def _name(job: Job) -> str:
    seed, task = job
    return f"{seed}-{task}"


def play(config: ExpertsConfig, waiting: WaitingEpisodes, jobs: Sequence[Job]) -> None:
    """Plays the episodes that are missing, reporting progress; failures wait without frames."""
    start = time.monotonic()
    missing = [job for job in jobs if _name(job) not in waiting]
    if len(missing) < len(jobs):
        print(f"{len(jobs) - len(missing)} of {len(jobs)} episodes are there", flush=True)
    make: Callable[[], Callable[[Job], Recorded]] = partial(Stage, config.pushes, config.box)
    for number, (job, episode) in enumerate(run_jobs(make, missing, config.processes), 1):
        waiting.add(_name(job), episode)
        if number % 20 == 0 or number == len(missing):
            print(f"{number}/{len(missing)} episodes, {time.monotonic() - start:.0f} s", flush=True)


def record(config: ExpertsConfig) -> Path:
    """Records a data set; stopped, the same call goes on.

    Raises:
        UserError: the folder exists, no episode succeeds, or episodes of another recording wait there.
        NotInstalledError: Meta-World is not installed.
    """
    waiting = WaitingEpisodes(config.root, {"pushes": asdict(config.pushes), "box": config.box})
    for task in config.tasks:
        check_runtime(EnvironmentSettings("metaworld", {"task": task}))
    waiting.begin()
    jobs = [
        (seed, task) for seed in range(config.seed, config.seed + config.episodes) for task in config.tasks
    ]
    play(config, waiting, jobs)
    root = waiting.finish(config.layout, map(_name, jobs))
    kept = Counter(episode["task"] for episode in read_json(root / EPISODES_FILE))
    print(
        "\n".join(f"{task}: {kept[task]} of {config.episodes} succeeded" for task in config.tasks), flush=True
    )
    return root


def from_hydra(cfg: DictConfig) -> ExpertsConfig:
    """The checked configuration from what ``conf/record_metaworld.yaml`` and the command line make together."""
    values = plain(cfg)
    chosen: Sequence[str] = values.pop("tasks")
    pushes = Pushes(**values.pop("pushes"))
    return ExpertsConfig(root=Path(values.pop("run_dir")), tasks=tuple(chosen), pushes=pushes, **values)


@command(
    "record_metaworld", schema_of(ExpertsConfig, but=("root",), run_dir=str), renamed={"root": "run_dir"}
)
def main(config: DictConfig) -> None:
    """Command line entry."""
    print(f"written to {record(from_hydra(config))}")


if __name__ == "__main__":
    main()
