"""Makes, goes on making, or mends a pair cache: ``python -m reflow.pairs +fix=full32 draws=8 store=vision``.

``python -m reflow.pairs verify DIR`` looks a cache over. Exit code 0: all is there and well; 1: something is wrong
with it; 2: cannot run.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

import lightning as L
import torch
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import RichProgressBar
from omegaconf import DictConfig

from reflow.cli import build, build_with, command, overrides
from reflow.config.inputs import open_inputs
from reflow.config.pairs import (
    PAIRS,
    RENAMED,
    asked_manifest,
    check_pair_settings,
    first_identities,
    learning_command,
    pair_folder,
)
from reflow.config.parts import rule_of
from reflow.data import samples_of
from reflow.endpoints import (
    Manifest,
    Part,
    drop_damaged,
    missing_work,
    seal,
    settle,
    sweep,
    verify_command,
)
from reflow.endpoints.cost import check_disk, measure_cost
from reflow.endpoints.fill import FillPairs, ShardWriter
from reflow.endpoints.grow import take_over
from reflow.flow import Solver
from reflow.stopping import going_on


class _Progress(RichProgressBar):
    @property
    def predict_description(self) -> str:
        return "making pairs"


def generate(config: DictConfig, overrides: Sequence[str] = ()) -> Path:
    """Makes what is missing of a cache.

    Args:
        config: ``conf/pairs.yaml``, composed.
        overrides: the command's own, to say it again.

    Returns:
        The cache's folder.

    Raises:
        UserError: bad input, or a cache of other pairs, before anything is made.
    """
    check_pair_settings(config)
    solver: Solver = build(config.solver)
    part = Part.parse(config.part)
    torch.set_float32_matmul_precision(config.matmul_precision)
    inputs = open_inputs(config, velocity=config.velocity, preload=False)  # each frame is looked at once
    source, teacher, data = inputs.source, inputs.teacher, inputs.open_data(seed=config.seed)
    inputs.warn_of_complaints()
    rule = rule_of(config, teacher.space)

    folder = pair_folder(config)
    asked = asked_manifest(config, source, teacher, rule, solver, data, overrides)
    manifest = settle(asked, folder)
    manifest.check_covers(*samples_of(data.sources), folder)
    if config.grown_from is not None:
        begins = first_identities(config, source, teacher, rule, solver, data)
        taken = take_over(folder, manifest, Path(config.grown_from), begins)
        _say(f"{taken} shards are those of {config.grown_from}")
    if config.repair and manifest.checksums:
        for line in drop_damaged(folder, manifest, part):
            _say(f"damaged, to be made anew: {line}")
    writer = ShardWriter(folder)
    trainer = build_with(
        config.trainer,
        callbacks=[_Progress(), writer],
        logger=False,
        enable_checkpointing=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # the ranks share out shards, not rows
    )
    work, steps = missing_work(folder, manifest, part), manifest.identity.num_steps
    if work:
        module = FillPairs(
            teacher, rule, data, manifest.layout, work, solver=solver, num_steps=steps, seed=config.seed
        )
        _fill(trainer, module, writer, asked)
    if work or config.repair or not {*manifest.layout.folders} <= manifest.complete:
        manifest = seal(folder)  # whoever was killed behind its last shard has not
    if lacking := [name for name in manifest.layout.folders if name not in manifest.complete]:
        _say(f"{folder}: this part is done; {', '.join(lacking)} still lack shards that are other parts'")
    else:
        learn = learning_command(manifest, folder, overrides)
        _say(f"{folder} is complete: {manifest.layout}. To learn from it:\n  {learn}")
    return folder


def _fill(trainer: L.Trainer, module: FillPairs, writer: ShardWriter, asked: Manifest) -> None:
    folder = writer.folder
    _say(f"{folder}: {module.layout}")
    if trainer.is_global_zero:
        cost = measure_cost(trainer, module)
        _say(f"{cost} on {trainer.world_size} x {trainer.strategy.root_device.type}")
        check_disk(folder, cost)
        settle(asked, folder).write(folder)  # only now: bad input leaves no folder behind
        sweep(folder)
    warnings.filterwarnings("ignore", message="Couldn't infer the batch indices")  # the portions say them
    with going_on(lambda: f"the same command goes on, {folder} keeps whole shards", writer.signals):
        trainer.predict(module, return_predictions=False)


@rank_zero_only
def _say(line: str) -> None:
    print(line, flush=True)


@command("pairs", PAIRS, renamed=RENAMED)
def _generate(config: DictConfig) -> None:
    generate(config, overrides())


def main() -> None:
    """Command-line entry."""
    if sys.argv[1:2] == ["verify"]:
        raise SystemExit(verify_command(sys.argv[2:]))
    _generate()


if __name__ == "__main__":
    main()
