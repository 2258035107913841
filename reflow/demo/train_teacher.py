"""Trains the demo's teacher on recorded demonstrations.

    python -m reflow.demo.record run_dir=outputs/pick_demos
    python -m reflow.demo.train_teacher data.root=outputs/pick_demos run_dir=outputs/teacher

Leaves ``run_dir/pretrained_model``, an ordinary LeRobot policy folder of averaged weights, refreshed at every
checkpoint. The same command run again goes on from the last checkpoint.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import EMAWeightAveraging, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from omegaconf import DictConfig

from reflow.cli import build_with, command, plain
from reflow.data import load_metadata
from reflow.demo.flow_matching import FlowMatching
from reflow.policies import FlowPolicy, find_folder, load_policy, load_processors, save_policy
from reflow.policies.processors import save_new_processors
from reflow.policies.smolvla import SmolVLAFlow
from reflow.policies.smolvla.build import build_smolvla
from reflow.policies.smolvla.vlm import VLMSize, build_vlm_folder
from reflow.schema import OPEN, schema, schema_of


class TeacherFolder(L.Callback):
    """Writes the averaged weights as a policy folder at every checkpoint and at the end.

    Args:
        averaging: the callback that holds the averaged weights.
        source: folder with the processors.
        folder: where to write.
        every: steps between two writings.
    """

    def __init__(self, averaging: EMAWeightAveraging, source: Path, folder: Path, every: int) -> None:
        self.averaging, self.source, self.folder, self.every = averaging, source, folder, every

    def on_train_batch_end(self, trainer: L.Trainer, pl_module: Any, *_: Any) -> None:
        if trainer.global_step % self.every == 0 and trainer.is_global_zero:
            averaged = self.averaging._average_model
            self._write(pl_module if averaged is None else averaged.module)

    def on_train_end(self, trainer: L.Trainer, pl_module: Any) -> None:
        if trainer.is_global_zero:
            self._write(pl_module)  # Lightning has put the averaged weights into the module

    def _write(self, module: Any) -> None:
        policy = copy.deepcopy(module.policy).eval()
        save_policy(policy, self.source, self.folder)


def open_teacher(config: DictConfig) -> tuple[FlowPolicy, Path]:
    """A trained policy to go on from, all of it trainable, and the folder with its processors."""
    folder = find_folder(config.start, "start")
    policy = load_policy(folder)
    policy.requires_grad_(True)
    return policy, folder


def new_teacher(config: DictConfig, run_dir: Path) -> tuple[SmolVLAFlow, Path]:
    """An untrained policy for this data set, and the folder with its processors."""
    meta = load_metadata(config.data.repo_id, config.data.root)
    vlm = build_vlm_folder(
        run_dir / "vlm",
        VLMSize(**plain(config.vlm)),
        [f"{task}\n" for task in meta.tasks.index],
    )
    policy = build_smolvla(
        vlm,
        state_dim=meta.features["observation.state"]["shape"][0],
        action_dim=meta.features["action"]["shape"][0],
        cameras={key: _channels_first(meta.features[key]) for key in meta.camera_keys},
        # What it was trained with is its preset: whoever distills it starts from there.
        optimizer_lr=config.lr,
        scheduler_warmup_steps=config.warmup_steps,
        scheduler_decay_steps=config.max_steps,
        scheduler_decay_lr=0.02 * config.lr,
        **plain(config.policy),
    )
    processors = run_dir / "processors"
    save_new_processors(policy, meta.stats, processors)
    return policy, processors


def train(config: DictConfig) -> Path:
    """Trains a teacher; returns its policy folder."""
    L.seed_everything(config.seed, workers=True, verbose=False)
    run_dir = Path(config.run_dir).resolve()
    policy, processors = new_teacher(config, run_dir) if config.start is None else open_teacher(config)
    preprocess, _ = load_processors(processors, policy)
    data = build_with(config.data, policy.config, preprocess, seed=config.seed, with_actions=True)
    module = FlowMatching(
        policy,
        draws=config.draws,
        loss_dims=config.loss_dims,
        seed=config.seed,
        lr=config.lr,
        warmup_steps=config.warmup_steps,
        max_steps=config.max_steps,
        weight_decay=config.weight_decay,
    )
    averaging = EMAWeightAveraging(decay=config.ema_decay)
    folder = run_dir / "pretrained_model"
    trainer = L.Trainer(
        accelerator="auto",
        devices=1,
        max_steps=config.max_steps,
        gradient_clip_val=config.gradient_clip_val,
        logger=CSVLogger(run_dir, name="csv", version=""),
        callbacks=[
            averaging,
            TeacherFolder(averaging, processors, folder, config.save_every),
            ModelCheckpoint(
                run_dir / "checkpoints",
                filename="last",
                every_n_train_steps=config.save_every,
                enable_version_counter=False,
            ),
        ],
        log_every_n_steps=20,
        val_check_interval=config.save_every,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
        enable_model_summary=False,
    )
    last = run_dir / "checkpoints" / "last.ckpt"
    trainer.fit(module, data, ckpt_path=last if last.exists() else None, weights_only=True)
    return folder


def _channels_first(feature: dict[str, Any]) -> tuple[int, int, int]:
    sizes: dict[str, int] = dict(zip(feature["names"], feature["shape"], strict=True))
    channels = sizes["channels" if "channels" in sizes else "channel"]
    return (channels, sizes["height"], sizes["width"])


TEACHER = schema(
    run_dir=str,
    seed=int,
    start=str | None,
    loss_dims=str,
    max_steps=int,
    draws=int,
    lr=float,
    warmup_steps=int,
    weight_decay=float,
    gradient_clip_val=float,
    ema_decay=float,
    save_every=int,
    data=OPEN,
    vlm=schema_of(VLMSize),
    policy=OPEN,
)


@command("train_teacher", TEACHER)
def main(config: DictConfig) -> None:
    """Command-line entry."""
    print(f"teacher written to {train(config)}")


if __name__ == "__main__":
    main()
