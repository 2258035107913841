"""A LightningDataModule over any LeRobotDataset, through the policy's own saved preprocessor.

Training batches come in the order of :mod:`reflow.data.order`, endlessly, from the trainer's global step on;
held-out frames in a fixed random one. Left out: noise and time, which the training step draws by the
identity (``sample``, ``visit``) that every batch holds.
"""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import lightning as L
import torch
from huggingface_hub.errors import HFValidationError
from lerobot.configs import PreTrainedConfig
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import CompatibilityError
from torch import Tensor
from torch.utils.data import DataLoader, Subset, default_collate

from reflow.data.checks import check_fit, check_lengths, split_episodes
from reflow.data.frames import SAMPLE, VISIT, Frames, Portions, Reading
from reflow.data.looks import Looks
from reflow.data.order import Order, StepSampler
from reflow.errors import MissingFileError, UserError


class Extras(Protocol):
    """What comes with a batch from elsewhere, by the identities of its visits (a pair cache, say)."""

    @property
    def reading(self) -> Reading:
        """What must still be read of the data set."""

    def check_visits(self, visits: int) -> None:
        """Refuses a run that visits its observations so often, before it has begun."""

    def __call__(self, sample: Tensor, visit: Tensor) -> dict[str, Any]:
        """Entries of the batch with these identities, ``[b]`` each."""


Preprocessor = Callable[[dict[str, Any]], dict[str, Any]]


class LeRobotDataModule(L.LightningDataModule):
    """Batches of preprocessed observations.

    Args:
        policy: LeRobot's configuration of the policy that will be given them.
        preprocess: its saved preprocessor (``reflow.policies.load_processors``).
        repo_id: name of the data set (a hub id, or any name beside a local ``root``).
        root: local folder of the data set; None takes it from LeRobot's cache or the hub.
        episodes: training episodes; None for all but the held-out ones.
        val_episodes: held-out episodes; None for the last tenth.
        batch_size: observations per step and process.
        seed: of the run; with the step it determines the order.
        num_workers: loader processes; 0 decodes in the training process.
        prefetch_factor: batches each worker prepares ahead.
        pin_memory: page-locked batches, for CUDA.
        preload: decode every frame once and keep it in memory; for small data sets.
        rename: from the data set's camera keys to the policy's.
        val_frames: at most so many held-out frames, evenly spread.
        with_actions: also give ``action`` and ``action_is_pad``, to train a teacher.
        allow_short_episodes: accept episodes shorter than the policy's chunk.
        look_within, look_times: frames this close to the start of a chunk come up so many times (:class:`Looks`).
        stored: what training batches hold besides, and need not read of the data set (:class:`Extras`).
    """

    def __init__(
        self,
        policy: PreTrainedConfig,
        preprocess: Preprocessor,
        *,
        repo_id: str,
        root: str | Path | None = None,
        episodes: Sequence[int] | None = None,
        val_episodes: Sequence[int] | None = None,
        batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 2,
        prefetch_factor: int = 2,
        pin_memory: bool = False,
        preload: bool = False,
        rename: Mapping[str, str] | None = None,
        val_frames: int = 256,
        with_actions: bool = False,
        allow_short_episodes: bool = False,
        look_within: int = 1,
        look_times: int = 1,
        stored: Extras | None = None,
    ) -> None:
        super().__init__()
        self.preprocess = preprocess
        self.stored = stored
        self.batch_size, self.seed, self.val_frames = batch_size, seed, val_frames
        self.num_workers, self.prefetch_factor, self.pin_memory = num_workers, prefetch_factor, pin_memory
        self.meta = load_metadata(repo_id, root)
        check_fit(self.meta, policy, rename or {})
        self.train_episodes, self.held_out_episodes = split_episodes(
            self.meta.total_episodes, episodes, val_episodes
        )
        chunk_size = len(policy.action_delta_indices or ())
        check_lengths(self.meta, self.train_episodes, chunk_size, allow_short_episodes)
        chunk = chunk_size if with_actions else None
        self.train_frames, self.held_out = (
            Looks(
                Frames(
                    LeRobotDataset(repo_id, root=root, episodes=chosen, video_backend=video_backend()),
                    chunk,
                    preload,
                    reading,
                ),
                policy.n_action_steps,
                look_within,
                look_times,
            )
            for chosen, reading in (
                (self.train_episodes, self.stored.reading if self.stored else "all"),
                (self.held_out_episodes, "all"),
            )
        )

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        if self.stored is not None and trainer is not None and trainer.max_steps > 0:
            self.stored.check_visits(
                self.visits(trainer.max_steps * trainer.accumulate_grad_batches * trainer.world_size)
            )
        sampler = StepSampler(
            Order(len(self.train_frames), self.seed),
            self.batch_size,
            first_step=trainer.global_step * trainer.accumulate_grad_batches if trainer else 0,
            rank=trainer.global_rank if trainer else 0,
            world_size=trainer.world_size if trainer else 1,
        )
        return self._loader(
            self.train_frames, functools.partial(self._collate, stored=self.stored), batch_sampler=sampler
        )

    def visits(self, batches: int) -> int:
        """How often, at most, so many training batches visit one frame."""
        return math.ceil(batches * self.batch_size / len(self.train_frames)) * self.train_frames.times

    def val_dataloader(self) -> DataLoader[Any]:
        spread = range(0, len(self.held_out), max(1, math.ceil(len(self.held_out) / self.val_frames)))
        # In a fixed random order, so that the first few batches already speak for all of them.
        rows = Subset(self.held_out, [spread[place] for place in Order(len(spread), seed=0).epoch(0)])
        return self._loader(rows, self._collate, batch_size=self.batch_size)

    def portions(self, portions: Sequence[Tensor]) -> DataLoader[Any]:
        """Training frames in these portions of samples, each once and in this order: to make pairs of them."""
        rows = [torch.searchsorted(self.train_frames.frames.samples, samples) for samples in portions]
        return self._loader(Portions(self.train_frames.frames, rows), self._collate, batch_size=None)

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Everything but the identities: noise is drawn from them on the host, and fetching them would be a wait."""
        identity = {key: batch[key] for key in (SAMPLE, VISIT)}
        return {**super().transfer_batch_to_device(batch, device, dataloader_idx), **identity}

    def _loader(self, frames: Any, collate: Any, **kwargs: Any) -> DataLoader[Any]:
        return DataLoader(
            frames,
            num_workers=self.num_workers,
            prefetch_factor=self.prefetch_factor if self.num_workers else None,
            persistent_workers=self.num_workers > 0,
            pin_memory=self.pin_memory,
            collate_fn=collate,
            worker_init_fn=_quiet_worker,
            **kwargs,
        )

    def _collate(self, items: list[dict[str, Any]], stored: Extras | None = None) -> dict[str, Any]:
        batch = default_collate(items)
        identity = {key: batch.pop(key) for key in (SAMPLE, VISIT)}
        observed = self.preprocess(batch) if batch else {}
        return {**observed, **identity, **(stored(identity[SAMPLE], identity[VISIT]) if stored else {})}


def load_metadata(repo_id: str, root: str | Path | None) -> LeRobotDatasetMetadata:
    """Metadata of a data set, or an error that says which field to correct.

    Raises:
        MissingFileError: there is no such data set here or on the hub.
        UserError: it is empty, or of a version that LeRobot does not read any more.
    """
    if root is not None and not (Path(root) / "meta" / "info.json").is_file():
        raise MissingFileError(
            f"data.root={root} is no LeRobotDataset v3: meta/info.json is missing; give the folder that holds "
            "meta/ and data/"
        )
    try:
        meta = LeRobotDatasetMetadata(repo_id, root=root)
    except (CompatibilityError, NotImplementedError) as error:
        raise UserError(f"data set {repo_id} (data.root={root}): {' '.join(str(error).split())}") from error
    except (OSError, HFValidationError) as error:
        raise MissingFileError(
            f"data.repo_id={repo_id} is neither in LeRobot's cache nor given by the hub ({type(error).__name__}); "
            "for a local data set name its folder with data.root=..."
            if root is None
            else f"data.root={root} is incomplete: files of its meta/ are missing, and the hub does not give "
            f"data.repo_id={repo_id} ({type(error).__name__}); copy the whole folder"
        ) from error
    if meta.total_episodes == 0:
        raise UserError(f"data set {repo_id} (data.root={root}) has no episode")
    return meta


@functools.cache
def video_backend() -> str:
    """The decoder that works here; asked quietly, where LeRobot prints pages of traceback."""
    try:
        import torchcodec  # noqa: F401  (needs FFmpeg's shared libraries)
    except (ImportError, OSError, RuntimeError):
        return "pyav"
    return "torchcodec"


def _quiet_worker(_: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
