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
from lerobot.configs import PreTrainedConfig
from torch import Tensor
from torch.utils.data import DataLoader, Subset, default_collate

from reflow.data.agree import check_sources, kept_cameras
from reflow.data.augment import Augment
from reflow.data.frames import SAMPLE, VISIT, Frames, Portions, Reading
from reflow.data.looks import Looks
from reflow.data.mixed import Mixed, MixedOrder
from reflow.data.opened import content_of, open_sources
from reflow.data.order import Order, StepSampler
from reflow.data.sources import sources_of
from reflow.errors import UserError


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
        repo_id: name of the data set (a hub id, or any name beside a local ``root``); None beside a ``mixture``.
        root: local folder of the data set; None takes it from LeRobot's cache or the hub.
        episodes: training episodes; None for all but the held-out ones.
        val_episodes: held-out episodes; None for the last tenth.
        exclude_episodes: episodes that are used for neither.
        mixture: several data sets in the place of one: a list of entries with the keys above, ``rename`` and
            ``weight`` (:class:`reflow.data.Source`). Held out are frames of all of them.
        batch_size: observations per step and process.
        seed: of the run; with the step it determines the order.
        num_workers: loader processes; 0 decodes in the training process.
        prefetch_factor: batches each worker prepares ahead.
        pin_memory: page-locked batches, for CUDA.
        preload: decode every frame once and keep it in memory; for small data sets.
        rename: from the data set's camera keys to the policy's; done here, so the preprocessor has none to rename.
        saved_rename: camera names that the policy's own preprocessor was saved with; ``rename`` goes first.
        val_frames: at most so many held-out frames, evenly spread.
        with_actions: also give ``action`` and ``action_is_pad``, to train a teacher.
        allow_short_episodes: accept episodes shorter than the policy's chunk.
        look_within, look_times: frames this close to the start of a chunk come up so many times (:class:`Looks`).
        augment: training frames look another way at every visit (:class:`reflow.data.augment.Augment`).
        stored: what training batches hold besides, and need not read of the data set (:class:`Extras`).

    Attributes:
        sources: the data sets, opened, with their metadata and chosen episodes (:class:`OpenSource`).
        meta: of the first of them.

    Raises:
        MissingFileError: a data set, or a file of it, is not there.
        UserError: data and policy do not fit, something in the data is damaged or no number, or a choice cannot be.
    """

    def __init__(
        self,
        policy: PreTrainedConfig,
        preprocess: Preprocessor,
        *,
        repo_id: str | None = None,
        root: str | Path | None = None,
        episodes: Sequence[int] | None = None,
        val_episodes: Sequence[int] | None = None,
        exclude_episodes: Sequence[int] | None = None,
        mixture: Sequence[Mapping[str, Any]] | None = None,
        batch_size: int = 32,
        seed: int = 0,
        num_workers: int = 2,
        prefetch_factor: int = 2,
        pin_memory: bool = False,
        preload: bool = False,
        rename: Mapping[str, str] | None = None,
        saved_rename: Mapping[str, str] | None = None,
        val_frames: int = 256,
        with_actions: bool = False,
        allow_short_episodes: bool = False,
        look_within: int = 1,
        look_times: int = 1,
        augment: bool = False,
        stored: Extras | None = None,
    ) -> None:
        super().__init__()
        for name, value, least in (("num_workers", num_workers, 0), ("prefetch_factor", prefetch_factor, 1)):
            if value < least:
                raise UserError(f"data.{name}={value}; allowed: {least} or more")
        if augment and stored is not None:
            raise UserError(
                "data.augment=true with pairs.path: a cache holds the endpoints of frames as they are; leave one out"
            )
        self.preprocess = preprocess
        self.stored = stored
        self.batch_size, self.seed, self.val_frames = batch_size, seed, val_frames
        self.num_workers, self.prefetch_factor, self.pin_memory = num_workers, prefetch_factor, pin_memory
        asked = {
            "repo_id": repo_id,
            "root": root,
            "episodes": episodes,
            "val_episodes": val_episodes,
            "exclude_episodes": exclude_episodes,
            "rename": rename,
            "mixture": mixture,
        }
        self.sources = open_sources(sources_of(asked), saved_rename)
        self.meta = self.sources[0].meta
        check_sources(self.sources, policy, allow_short_episodes, saved_rename)
        chunk = len(policy.action_delta_indices or ()) if with_actions else None
        first_action = (policy.action_delta_indices or (0,))[0]
        # What comes after now is for losses of LeRobot's training, as that of a world model; no action depends on it.
        observed = [step for step in policy.observation_delta_indices or () if step <= 0] or [0]
        cameras = kept_cameras(self.sources)
        self.train_frames, self.held_out = (
            Looks(
                Mixed(
                    [
                        Frames(
                            source.dataset(getattr(source, which)),
                            chunk,
                            preload,
                            reading,
                            seen,
                            source.offset,
                            observed,
                            first_action,
                            Augment(seen.values(), seed) if augment and which == "train" else None,
                        )
                        for source, seen in zip(self.sources, cameras, strict=True)
                    ]
                ),
                policy.n_action_steps,
                look_within,
                look_times,
            )
            for which, reading in (
                ("train", self.stored.reading if self.stored else "all"),
                ("held_out", "all"),
            )
        )
        self.order = MixedOrder(
            self.train_frames.sizes, [source.source.weight for source in self.sources], seed
        )

    @functools.cached_property
    def content(self) -> str:
        """A fingerprint of all files of its data sets: another one, and it is another run."""
        return content_of(self.sources)

    def train_dataloader(self) -> DataLoader[Any]:
        trainer = self.trainer
        if self.stored is not None and trainer is not None and trainer.max_steps > 0:
            self.stored.check_visits(
                self.visits(trainer.max_steps * trainer.accumulate_grad_batches * trainer.world_size)
            )
        sampler = StepSampler(
            self.order,
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
        return self.order.most_visits(batches * self.batch_size) * self.train_frames.times

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
        try:
            batch = default_collate(items)
        except RuntimeError as error:
            sizes = {
                key: sorted({tuple(item[key].shape[-2:]) for item in items}) for key in self._pictures(items)
            }
            raise UserError(
                f"{self.sources[0].source}: pictures of one camera differ in size, and batches are of one: {sizes} "
                "(height, width); bring them to one size"
            ) from error
        identity = {key: batch.pop(key) for key in (SAMPLE, VISIT)}
        observed = self._observed(batch) if batch else {}
        return {**observed, **identity, **(stored(identity[SAMPLE], identity[VISIT]) if stored else {})}

    @staticmethod
    def _pictures(items: list[dict[str, Any]]) -> list[str]:
        return [key for key, value in items[0].items() if isinstance(value, Tensor) and value.ndim >= 3]

    def _observed(self, batch: dict[str, Any]) -> dict[str, Any]:
        try:
            return self.preprocess(batch)
        except Exception as error:  # LeRobot's steps do what their settings say, and say nothing of these
            raise UserError(
                f"the policy's preprocessor fails on {self.sources[0].source} ({type(error).__name__}: "
                f"{' '.join(str(error).split())[:300]}); correct the settings of its steps in "
                "policy_preprocessor.json, or copy the policy's folder anew"
            ) from error


def _quiet_worker(_: int) -> None:
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    torch.set_num_threads(1)
