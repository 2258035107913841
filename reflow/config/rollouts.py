"""``conf/rollouts.yaml``: its schema, what is refused at once, and where rollouts go."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from reflow.cli import plain
from reflow.config.checks import check_least
from reflow.demo import embedded
from reflow.errors import UserError
from reflow.policies import find_folder, fingerprint
from reflow.schema import schema
from reflow.simulator.actor import Conditions
from reflow.simulator.environment import EnvironmentSettings
from reflow.simulator.recorder import Watching

ROLLOUTS = schema(
    name=str | None,
    run_dir=str | None,
    policy=str | None,
    env=dict[str, Any] | None,
    episodes=int,
    seed=int,
    steps=list[int] | None,
    looks=int | None,
    between=int,
    box=int | None,
    processes=int,
)


@dataclass(frozen=True)
class Rollouts:
    """A recording: who plays where, how often, and what of it is kept.

    Attributes:
        root: folder of the data set.
        conditions: environment and noise, whose seed is that of the first episode.
        policy: folder of the policy that plays.
        watching: what is kept.
        seeds: of the episodes.
        processes: that simulate; 0 is this one.
    """

    root: Path
    conditions: Conditions
    policy: Path
    watching: Watching
    seeds: range
    processes: int

    @classmethod
    def from_config(cls, config: DictConfig) -> Rollouts:
        """Checked.

        Raises:
            UserError: names the key, what is allowed there, and the value.
        """
        if config.env is None:
            raise UserError("env is null; say where the policy plays (env=pick, env=metaworld, ...)")
        check_least(config, 1, "episodes")
        check_least(config, 0, "seed", "processes")
        env = EnvironmentSettings.from_mapping(plain(config.env))
        policy = find_folder(embedded.policy_path(config.policy), "policy")
        watching = Watching(tuple(config.steps or ()), config.looks, config.between, config.box)
        root = Path(config.run_dir or f"outputs/rollouts/{config.name or env.type}")
        seeds = range(config.seed, config.seed + config.episodes)
        return cls(root, Conditions(env, noise_seed=config.seed), policy, watching, seeds, config.processes)

    @property
    def identity(self) -> dict[str, Any]:
        """What an episode depends on beside its seed."""
        return {
            "env": self.conditions.env.identity(),
            "policy": fingerprint(self.policy),
            "noise_seed": self.conditions.noise_seed,
            **{name: getattr(self.watching, name) for name in ("steps", "looks", "between", "box")},
        }
