"""Makes, goes on making, or mends a pair cache: ``python -m reflow.pairs +fix=full32 draws=8 store=vision``.

Hydra ends here. ``python -m reflow.pairs verify DIR`` looks a cache over. Exit code 0: all is there and well; 1:
something is wrong with it; 2: cannot run.
"""

from __future__ import annotations

import os
import shlex
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import hydra
import lightning as L
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.errors import InstantiationException
from hydra.types import RunMode
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import RichProgressBar
from omegaconf import DictConfig, OmegaConf

from reflow.config import check_pair_settings
from reflow.config_path import CONFIG_DIR
from reflow.data import LeRobotDataModule
from reflow.demo import embedded
from reflow.endpoints import (
    Layout,
    Manifest,
    Part,
    Samples,
    drop_damaged,
    missing_work,
    seal,
    settle,
    sweep,
    verify_command,
)
from reflow.endpoints.cost import check_disk, measure_cost
from reflow.endpoints.fill import FillPairs, ShardWriter
from reflow.endpoints.wanted import Walks, decisive_versions, pair_identity, samples_of
from reflow.flow import PaddingRule, get_solver
from reflow.policies import FlowPolicy, find_folder, load_policy, load_processors, with_velocity
from reflow.quiet import hush

USER_ERRORS = (ValueError, OSError, InstantiationException)
CANNOT_RUN = 2
# Of a cache alone, or of how it is made: no part of the command that learns from it.
_OWN = (
    "name",
    "path",
    "draws",
    "store",
    "store_precision",
    "samples_per_shard",
    "draws_at_once",
    "part",
    "repair",
)
_MAKING = ("data.batch_size", "data.num_workers", "trainer.devices", "trainer.num_nodes", "trainer.strategy")


class _Progress(RichProgressBar):
    @property
    def predict_description(self) -> str:
        return "making pairs"


def generate(config: DictConfig, overrides: list[str]) -> Path:
    """Makes what is missing of a cache.

    Args:
        config: ``conf/pairs.yaml``, composed.
        overrides: the command's own, to say it again.

    Returns:
        The cache's folder.

    Raises:
        ValueError, OSError: bad input, or a cache of other pairs, before anything is made.
    """
    check_pair_settings(config)
    _check_devices(config)
    part = Part.parse(config.part)
    torch.set_float32_matmul_precision(config.matmul_precision)
    teacher_folder = find_folder(embedded.policy_path(config.teacher.path))
    teacher = with_velocity(load_policy(teacher_folder), config.velocity)
    rename = dict(config.data.rename or {})
    preprocess, _ = load_processors(teacher_folder, teacher, rename=rename)
    data = LeRobotDataModule(teacher.config, preprocess, seed=config.seed, **_data_arguments(config))
    padding = config.padding
    rule = PaddingRule(teacher.space, padding.noise, padding.target, padding.loss, padding.inert)

    folder = Path(config.path or Path("outputs", "pairs", config.name)).expanduser()
    asked = _asked(config, teacher, teacher_folder, rule, data, overrides)
    manifest = settle(asked, folder)
    manifest.check_covers(*samples_of(data.meta, data.train_episodes), folder)
    if config.repair and manifest.checksums:
        for line in drop_damaged(folder, manifest, part):
            _say(f"damaged, to be made anew: {line}")
    trainer = hydra.utils.instantiate(
        config.trainer,
        callbacks=[_Progress(), ShardWriter(folder)],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the ranks share out shards, not rows
    )
    work = missing_work(folder, manifest, part)
    module = FillPairs(
        teacher,
        rule,
        data,
        manifest.layout,
        work,
        solver=get_solver(config.solver.name),
        num_steps=manifest.identity.num_steps,
        seed=config.seed,
    )
    if work:
        _fill(trainer, module, folder, asked)
    _say_done(seal(folder) if work or config.repair else manifest, folder, overrides)
    return folder


def _fill(trainer: L.Trainer, module: FillPairs, folder: Path, asked: Manifest) -> None:
    _say(f"{folder}: {module.layout}")
    if trainer.is_global_zero:
        cost = measure_cost(trainer, module)
        _say(f"{cost} on {trainer.world_size} x {trainer.strategy.root_device.type}")
        check_disk(folder, cost)
        settle(asked, folder).write(folder)  # only now: bad input leaves no folder behind
        sweep(folder)
    warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")  # the portions say them
    try:
        trainer.predict(module, return_predictions=False)
    except SystemExit as error:
        if trainer.interrupted:
            raise SystemExit(f"interrupted; the same command goes on, {folder} keeps whole shards") from error
        raise


def _asked(
    config: DictConfig,
    teacher: FlowPolicy,
    teacher_folder: Path,
    rule: PaddingRule,
    data: LeRobotDataModule,
    overrides: list[str],
) -> Manifest:
    """The manifest of a cache that holds what is asked for and nothing else."""
    walks = Walks(
        config.solver.name,
        config.teacher.num_steps,
        config.seed,
        config.trainer.get("precision", "32-true"),
        config.matmul_precision,
    )
    samples, _ = samples_of(data.meta, data.train_episodes)
    layout = Layout(
        Samples.of(samples),
        config.samples_per_shard,
        config.data.batch_size,
        config.draws_at_once,
        ((0, config.draws),),
        dict.fromkeys(_stores(config), config.store_precision),
        torch.get_num_threads(),
    )
    again = [override for override in overrides if _key(override) not in ("part", "repair")]
    return Manifest(
        pair_identity(teacher, teacher_folder, rule, data.meta, config.data.rename, walks),
        layout,
        {"command": shlex.join(["python", "-m", "reflow.pairs", *again]), "repo_id": data.meta.repo_id},
        decisive_versions(),
    )


def _check_devices(config: DictConfig) -> None:
    sweeping = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    if sweeping and config.trainer.get("devices", 1) not in (1, "1"):
        raise ValueError(
            f"trainer.devices={config.trainer.devices} under --multirun: Lightning would start the whole sweep "
            "once per device; use trainer.devices=1, or one command per part"
        )


def _stores(config: DictConfig) -> list[str]:
    store = config.store
    return [] if store is None else [str(name) for name in ([store] if isinstance(store, str) else store)]


def _data_arguments(config: DictConfig) -> dict[str, Any]:
    arguments = cast(dict[str, Any], OmegaConf.to_container(config.data, resolve=True))
    arguments |= {"preload": False}  # each frame is looked at once
    if arguments["repo_id"] is None:
        arguments |= {"repo_id": embedded.REPO_ID, "root": embedded.DATA}
    return arguments


def _say_done(manifest: Manifest, folder: Path, overrides: list[str]) -> None:
    lacking = [name for name in manifest.layout.folders if name not in manifest.complete]
    if lacking:
        _say(f"{folder}: this part is done; {', '.join(lacking)} still lack shards that are other parts'")
        return
    shared = [override for override in overrides if _key(override) not in (*_OWN, *_MAKING)]
    learn = ["python", "-m", "reflow.train", *shared, f"pairs.path={folder}"]
    learn.append(f"objective.draw_pool={manifest.layout.draws}")
    _say(f"{folder} is complete: {manifest.layout}. To learn from it:\n  {shlex.join(learn)}")


def _key(override: str) -> str:
    return override.lstrip("+~").partition("=")[0]


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)


@hydra.main(version_base="1.3", config_path=CONFIG_DIR, config_name="pairs")
def _generate(config: DictConfig) -> None:
    hush()
    try:
        generate(config, list(HydraConfig.get().overrides.task))
    except USER_ERRORS as error:
        if os.environ.get("HYDRA_FULL_ERROR") == "1":
            raise
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(CANNOT_RUN) from error


def main() -> None:
    """Command-line entry."""
    if sys.argv[1:2] == ["verify"]:
        raise SystemExit(verify_command(sys.argv[2:]))
    try:
        _generate()
    except SystemExit as error:  # Hydra's own errors end with 1, which here means a damaged cache
        raise SystemExit(CANNOT_RUN if error.code == 1 else error.code) from error


if __name__ == "__main__":
    main()
