"""Fills a pair cache: the teacher encodes each observation once and integrates its noises to their endpoints.

Run by Lightning's ``Trainer.predict``, in any number of processes: each takes shards that are missing and writes
them whole, so that what is on disk does not depend on who made it, and an interrupted fill goes on where it was. Left
out: what it will cost (``reflow.endpoints.cost``), whose pairs they are (``reflow.endpoints.wanted``).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor
from torch.utils.data import DataLoader

from reflow.data import LeRobotDataModule
from reflow.endpoints import PRECISIONS, Layout, Work, seal, write_shard
from reflow.endpoints.layout import block_folder, shard_file
from reflow.endpoints.shards import joined
from reflow.errors import UserError
from reflow.flow import Draws, PaddingRule, Solver
from reflow.policies import VISION, Batch, FlowPolicy, StorablePrefix
from reflow.policies.frozen import Frozen
from reflow.stopping import PostponedSignals

type Tensors = dict[str, Tensor]


@dataclass(frozen=True)
class Portion:
    """A sub-batch of a shard.

    Attributes:
        work: the shard.
        samples: identities of its observations, ``[b]``.
        last: the shard is complete with it.
    """

    work: Work
    samples: Tensor
    last: bool


class FillPairs(L.LightningModule):
    """Makes what is missing of a cache, sub-batch by sub-batch.

    Args:
        teacher: frozen here.
        rule: what of a draw the teacher starts from.
        data: whose training frames are encoded.
        layout: of the cache.
        work: the shards to make; the ranks of a trainer share them.
        solver, num_steps: the teacher's.
        seed: of the noise.
    """

    allow_zero_length_dataloader_with_multiple_devices = True  # a rank may find nothing left to do

    def __init__(
        self,
        teacher: FlowPolicy,
        rule: PaddingRule,
        data: LeRobotDataModule,
        layout: Layout,
        work: Sequence[Work],
        *,
        solver: Solver,
        num_steps: int,
        seed: int,
    ) -> None:
        super().__init__()
        self._frozen = Frozen(teacher)
        self.rule, self.data, self.layout, self.work = rule, data, layout, work
        self.solver, self.num_steps, self.random = solver, num_steps, Draws(seed)
        self.portions: list[Portion] = []

    @property
    def teacher(self) -> FlowPolicy:
        """The frozen teacher."""
        return self._frozen.policy

    def on_predict_start(self) -> None:
        torch.set_num_threads(self.layout.threads)  # Lightning has given each of several processes fewer
        self._frozen.to(self.device)

    def predict_dataloader(self) -> DataLoader[Any]:
        # All ranks list what is missing before any of them writes: Lightning waits for all loaders.
        self.portions = self.portions_of(self.work[self.trainer.global_rank :: self.trainer.world_size])
        return self.data.portions([portion.samples for portion in self.portions])

    def portions_of(self, work: Sequence[Work]) -> list[Portion]:
        """The sub-batches of some shards."""
        return [
            Portion(entry, samples, last=number + 1 == len(portions))
            for entry in work
            for portions in [self.layout.portions(entry.shard)]
            for number, samples in enumerate(portions)
        ]

    def predict_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensors]:
        portion = self.portions[batch_idx]
        return self.make(batch, portion.samples, portion.work.folders)

    @torch.no_grad()
    def make(self, batch: Batch, samples: Tensor, folders: Sequence[str]) -> dict[str, Tensors]:
        """What goes into these folders of these observations, on the CPU.

        Args:
            batch: preprocessed, on the teacher's device.
            samples: its identities, ``[b]``, on the CPU.
            folders: what is asked for.

        Raises:
            UserError: the teacher gives something that is no number.
        """
        blocks = [block for block in self.layout.blocks if block_folder(block) in folders]
        made: dict[str, Tensors] = {}
        if "vision" in folders:
            batch = {**batch, VISION: self._storable("vision").vision_features(batch)}
            made["vision"] = batch[VISION]
        if blocks or "prefix" in folders:
            context = self.teacher.encode(batch)
            if "prefix" in folders:
                made["prefix"] = self._storable("prefix").pack(context)
            for first, stop in blocks:
                made[block_folder((first, stop))] = {"endpoint": self.walk(context, samples, first, stop)}
        kept = {name: self._kept(name, tensors) for name, tensors in made.items()}
        for name, tensors in kept.items():
            _check_finite(name, tensors, samples)
        return kept

    def walk(self, context: Any, samples: Tensor, first: int, stop: int) -> Tensor:
        """Endpoints of draws ``first ... stop - 1`` of these observations, ``[b, k, h, d]`` on the CPU."""
        found = []
        for start in range(first, stop, self.layout.draws_at_once):
            draw = torch.arange(start, min(start + self.layout.draws_at_once, stop)).expand(len(samples), -1)
            noise = self.rule.teacher_noise(self.teacher.noise(self.random, samples, draw).to(self.device))
            found.append(self.teacher.end(context, noise, self.num_steps, self.solver).cpu())
        return torch.cat(found, 1)

    def _storable(self, store: str) -> StorablePrefix[Any]:
        if not isinstance(self.teacher, StorablePrefix):
            raise UserError(
                f"store={store}, but encoded observations of a policy of type {self.teacher.config.type} cannot be "
                "stored; keep endpoints alone (store=null)"
            )
        return self.teacher

    def _kept(self, name: str, tensors: Tensors) -> Tensors:
        dtype = PRECISIONS[self.layout.stores.get(name, "float32")]
        return {
            key: (value.to(dtype) if value.is_floating_point() else value).cpu()
            for key, value in tensors.items()
        }


class ShardWriter(BasePredictionWriter):
    """Puts the sub-batches of a shard together and writes it; at the end, the checksums.

    Args:
        folder: of the cache.

    Attributes:
        signals: what tells it to stop waits for the end of a sub-batch.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__("batch")
        self.folder, self.signals = folder, PostponedSignals()
        self._made: list[dict[str, Tensors]] = []

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self.signals.remember()

    def on_predict_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.signals.postpone(trainer, pass_on=True)

    def write_on_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: FillPairs,
        prediction: Any,
        _: Any,
        batch: Any,
        batch_idx: int,
        *__: Any,
    ) -> None:
        portion = pl_module.portions[batch_idx]
        self._made.append(prediction)
        if portion.last:
            made, self._made = self._made, []
            for name in portion.work.folders:
                tensors = {key: joined([entry[name][key] for entry in made]) for key in made[0][name]}
                write_shard(self.folder / shard_file(name, portion.work.shard), tensors)
        self.signals.hand_over()

    def on_predict_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        trainer.strategy.barrier("pairs")
        if trainer.is_global_zero:
            seal(self.folder)


def _check_finite(name: str, tensors: Tensors, samples: Tensor) -> None:
    for key, tensor in tensors.items():
        bad = ~torch.isfinite(tensor.flatten(1)).all(1)
        if bad.any():
            raise UserError(
                f"{name}: {key} of samples {samples[bad].tolist()} is not finite; nothing of their shard was "
                "written. Look at those frames (python -m reflow.diagnose), or compute and store in a wider format "
                "(trainer.precision=32-true, store_precision=float32)"
            )


@contextlib.contextmanager
def computing(trainer: L.Trainer, module: FillPairs) -> Iterator[None]:
    """The trainer's device and precision, outside of its loop."""
    module.to(trainer.strategy.root_device)
    module.on_predict_start()
    with torch.inference_mode(), trainer.precision_plugin.predict_step_context():
        yield
