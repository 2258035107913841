"""``conf/pairs.yaml``: its schema, what is refused at once, and the cache that it asks for."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from reflow.cli import plain
from reflow.config.checks import check_devices, check_least, check_matmul_precision, check_padding
from reflow.config.naming import AUTO, padding_name
from reflow.config.parts import COMMON, GONE, PADDING, Teacher
from reflow.data import LeRobotDataModule, samples_of
from reflow.endpoints import Identity, Layout, Manifest, Samples
from reflow.endpoints.wanted import Walks, decisive_versions, pair_identity
from reflow.errors import UserError
from reflow.flow import PaddingRule, Solver
from reflow.policies import FlowPolicy
from reflow.schema import OPEN, schema

_CACHE: dict[str, Any] = {  # keys of a cache alone: no part of the command that learns from it
    "name": str,
    "run_dir": str | None,
    "draws": int,
    "store": Any,
    "store_precision": str,
    "samples_per_shard": int,
    "draws_at_once": int,
    "part": str | None,
    "grown_from": str | None,
    "repair": bool,
}
_MAKING = ("data.batch_size", "data.num_workers", "trainer.devices", "trainer.num_nodes", "trainer.strategy")
PAIRS = schema(
    **_CACHE,
    **COMMON,
    matmul_precision=str,
    velocity=str | None,
    padding=PADDING,
    solver=OPEN,
    trainer=OPEN,
)
RENAMED = GONE | {"path": "is now run_dir"}


def check_pair_settings(config: DictConfig) -> None:
    """Rejects settings of a pair cache that cannot be.

    Raises:
        UserError: names the key, what is allowed there, and the value.
    """
    check_matmul_precision(config)
    if padding_name(config) == AUTO:
        raise UserError(
            "padding is auto: a cache has to be of one rule; python -m reflow.train +fix=auto says which one it "
            "chooses, give that (+fix=full32)"
        )
    if config.data.augment:
        raise UserError("data.augment=true: a cache holds the endpoints of frames as they are; leave it out")
    check_padding(config)
    check_least(config, 1, "draws", "draws_at_once", "samples_per_shard", "data.batch_size")
    check_least(config, 0, "seed")
    check_devices(config)


def pair_folder(config: DictConfig) -> Path:
    """Where the cache goes."""
    return Path(config.run_dir or Path("outputs", "pairs", config.name)).expanduser()


def asked_manifest(
    config: DictConfig,
    source: Teacher,
    teacher: FlowPolicy,
    rule: PaddingRule,
    solver: Solver,
    data: LeRobotDataModule,
    overrides: Sequence[str],
) -> Manifest:
    """The manifest of a cache that holds what is asked for and nothing else."""
    walks = _walks(config, source, solver)
    samples, _ = samples_of(data.sources)
    layout = Layout(
        Samples.of(samples),
        config.samples_per_shard,
        config.data.batch_size,
        config.draws_at_once,
        ((0, config.draws),),
        dict.fromkeys(_stores(config), config.store_precision),
        torch.get_num_threads(),
    )
    names = ", ".join(source.source.repo_id for source in data.sources)
    again = [override for override in overrides if _key(override) not in ("part", "repair")]
    return Manifest(
        pair_identity(teacher, source.folder, rule, data.sources, walks),
        layout,
        {
            "command": shlex.join(["python", "-m", "reflow.pairs", *again]),
            "repo_id": names,
        },
        decisive_versions(),
    )


def first_identities(
    config: DictConfig,
    source: Teacher,
    teacher: FlowPolicy,
    rule: PaddingRule,
    solver: Solver,
    data: LeRobotDataModule,
) -> list[Identity]:
    """What the cache would be of its first data set, of its first two, and so on up to all but the last."""
    walks = _walks(config, source, solver)
    sources = data.sources
    begins = (sources[:number] for number in range(1, max(len(sources), 2)))
    return [pair_identity(teacher, source.folder, rule, begin, walks) for begin in begins]


def _walks(config: DictConfig, source: Teacher, solver: Solver) -> Walks:
    precision = config.trainer.get("precision", "32-true")
    return Walks(solver.name, source.num_steps, config.seed, precision, config.matmul_precision)


def learning_command(manifest: Manifest, folder: Path, overrides: Sequence[str]) -> str:
    """The command that learns from a cache."""
    shared = [override for override in overrides if _key(override) not in (*_CACHE, *_MAKING)]
    learn = ["python", "-m", "reflow.train", *shared, f"pairs.path={folder}"]
    return shlex.join([*learn, f"objective.draw_pool={manifest.layout.draws}"])


def _stores(config: DictConfig) -> list[str]:
    store = plain(config)["store"]
    return [] if store is None else [str(name) for name in ([store] if isinstance(store, str) else store)]


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]
