"""Records successful demonstrations of the pick task.

    python -m reflow.demo.record run_dir=outputs/pick_demos episodes=300 seed=0 processes=2

Worker processes simulate and render; this process writes. The result depends on the configuration only, not
on the number of processes: episodes stand in the order of their seeds (seed, seed + 1, ...), failures left
out.
"""

import math
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from omegaconf import DictConfig

from reflow.cli import command, plain
from reflow.data.recording import Recorded, check_new_root, write_dataset
from reflow.demo.dataset import PICK
from reflow.demo.demonstrator import Perturbation
from reflow.demo.rollout import play
from reflow.demo.scene import CubeRange
from reflow.errors import UserError
from reflow.schema import schema_of

LEAST_SUCCESS = 0.9  # share of attempts; below it something is broken and the data would be a biased sample


@dataclass(frozen=True)
class RecordConfig:
    """What to record; `conf/record.yaml` holds the defaults of the command line.

    Attributes:
        root: Folder to create.
        episodes: Number of successful demonstrations, 1 or more.
        seed: Seed of the first attempt; attempt i has `seed + i`. Evaluate on seeds outside the range used.
        processes: Number of simulating processes, 1 or more.
        cube: Where the cube may start.
        perturbation: How executed commands are pushed off the plan.
    """

    root: Path
    episodes: int = 300
    seed: int = 0
    processes: int = 2
    cube: CubeRange = field(default_factory=CubeRange)
    perturbation: Perturbation = field(default_factory=Perturbation)

    def __post_init__(self) -> None:
        for name in ("episodes", "processes"):
            if getattr(self, name) < 1:
                raise UserError(f"{name}={getattr(self, name)} must be 1 or more.")
        if not 0 <= self.seed <= 2**32 - 1 - self.most_attempts:
            raise UserError(f"seed={self.seed} must lie in [0, 2**32 - 1 - {self.most_attempts}].")

    @property
    def most_attempts(self) -> int:
        """Attempts after which the success rate must have fallen below `LEAST_SUCCESS`."""
        return math.ceil(self.episodes / LEAST_SUCCESS)


@dataclass
class Tally:
    """Counts attempts and successes by arm."""

    tried: Counter = field(default_factory=Counter)
    succeeded: Counter = field(default_factory=Counter)

    def add(self, demonstration: Recorded) -> None:
        """Counts one attempt."""
        arm = demonstration.told["arm"]
        self.tried[arm] += 1
        self.succeeded[arm] += demonstration.success

    def __str__(self) -> str:
        return ", ".join(f"{arm} {self.succeeded[arm]}/{self.tried[arm]}" for arm in sorted(self.tried))


def successes(config: RecordConfig, tally: Tally) -> Iterator[Recorded]:
    """Plays attempts until `config.episodes` have succeeded, counting and reporting progress.

    Args:
        config: What to record.
        tally: Is told of every attempt.

    Yields:
        The successful ones in the order of their seeds.

    Raises:
        UserError: Fewer than 90 % of the attempts succeed.
    """
    start = time.monotonic()
    kept = 0
    seeds = range(config.seed, config.seed + config.most_attempts)
    source = play(seeds, config.processes, config.cube, config.perturbation)
    try:
        for demonstration in source:
            tally.add(demonstration)
            if not demonstration.success:
                continue
            yield demonstration
            kept += 1
            if kept % 20 == 0 or kept == config.episodes:
                seconds = time.monotonic() - start
                print(f"{kept}/{config.episodes} episodes, {seconds:.0f} s; {tally}", flush=True)
            if kept == config.episodes:
                return
    finally:
        source.close()
    raise UserError(
        f"only {kept} of {sum(tally.tried.values())} demonstrations succeeded ({tally}); narrow the cube "
        "range or lower perturbation.size."
    )


def record(config: RecordConfig) -> Path:
    """Records a dataset.

    Args:
        config: What to record.

    Returns:
        The new folder.

    Raises:
        UserError: The folder exists.
        UserError: Fewer than 90 % of the attempts succeed, or nothing can be rendered here.
    """
    check_new_root(config.root)
    tally = Tally()
    root = write_dataset(config.root, PICK, successes(config, tally))
    print(f"{root}: successful demonstrations by arm: {tally}", flush=True)
    return root


def from_hydra(cfg: DictConfig) -> RecordConfig:
    """Builds the checked configuration from a composed one.

    Args:
        cfg: What `conf/record.yaml` and the command line make together.

    Returns:
        The same as frozen dataclasses.

    Raises:
        UserError: A value is out of its range.
    """
    values = plain(cfg)
    cube, perturbation = values.pop("cube"), values.pop("perturbation")
    return RecordConfig(
        root=Path(values.pop("run_dir")),
        **values,
        cube=CubeRange(**{axis: tuple(bounds) for axis, bounds in cube.items()}),
        perturbation=Perturbation(**perturbation),
    )


@command(
    "record",
    schema_of(RecordConfig, but=("root",), run_dir=str),
    renamed={"root": "run_dir"},
)
def main(config: DictConfig) -> None:
    """Command line entry."""
    record(from_hydra(config))


if __name__ == "__main__":
    main()
