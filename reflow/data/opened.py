"""Data sets with their metadata read and their episodes chosen; nothing is decoded yet.

The identity of a frame is its number in its own data set, behind all frames of the data sets named before it. So it
is distinct across them, and for a single data set what it always was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch import Tensor

from reflow.data.content import data_content
from reflow.data.folder import check_files
from reflow.data.opening import load_dataset, load_metadata
from reflow.data.sources import Source
from reflow.data.split import split_episodes
from reflow.notices import note


@dataclass(frozen=True)
class OpenSource:
    """A data set whose metadata are read, and whose episodes are chosen.

    Attributes:
        source: what was asked for.
        meta: its metadata.
        train: training episodes.
        held_out: the others that are looked at.
        offset: frames of the data sets before it; what its own frame numbers begin behind.
        rename: from its camera keys to the policy's, the policy's own saved ones among them.
    """

    source: Source
    meta: LeRobotDatasetMetadata
    train: Sequence[int]
    held_out: Sequence[int]
    offset: int = 0
    rename: Mapping[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        """Its folder on this machine."""
        return Path(self.meta.root)

    @property
    def chosen(self) -> list[int]:
        """All episodes that are looked at, sorted."""
        return sorted([*self.train, *self.held_out])

    @property
    def frames(self) -> range:
        """Identities of all its frames."""
        return range(self.offset, self.offset + int(self.meta.total_frames))

    def dataset(self, episodes: Sequence[int]) -> LeRobotDataset:
        """It, limited to some episodes; what is not here yet is downloaded."""
        return load_dataset(self.source.repo_id, self.source.root, episodes, self.source.where)

    @cached_property
    def here(self) -> Path:
        """Its folder, once all files of the chosen episodes are in it.

        Raises:
            MissingFileError: names a file that is not.
        """
        if self.source.root is None:
            self.dataset(self.chosen)
        check_files(self.root, self._chosen_files(), self.source.where)
        return self.root

    def column(self, name: str) -> list[Any]:
        """What ``meta/episodes`` says of every episode."""
        return self.meta.episodes.data.column(name).to_pylist()

    def files_of(self, video: str | None = None) -> list[Path]:
        """Which file holds the table, or this camera's video, of each of the ``chosen`` episodes; all are there."""
        _ = self.here
        return self._files_of(video)

    def _chosen_files(self) -> list[Path]:
        kinds = [self._files_of(None), *(self._files_of(key) for key in self.meta.video_keys)]
        return sorted({file for files in kinds for file in files})

    def _files_of(self, video: str | None) -> list[Path]:
        kind, path = (
            ("data", self.meta.data_path) if video is None else (f"videos/{video}", self.meta.video_path)
        )
        chunks, files = (self.column(f"{kind}/{what}_index") for what in ("chunk", "file"))
        return [
            self.root
            / str(path).format(video_key=video, chunk_index=chunks[number], file_index=files[number])
            for number in self.chosen
        ]

    @cached_property
    def content(self) -> str:
        """A fingerprint of its files, downloaded first where it is the hub's.

        The hub's come in parts, so of those count the files of the chosen episodes: what another run downloads makes
        no other data set. A local folder is one thing, whichever of its episodes are chosen.
        """
        return data_content(self.here, self._chosen_files() if self.source.root is None else None)

    def samples(self) -> tuple[Tensor, Tensor]:
        """Identities of its training frames, and the episode of each; ``[n]`` both."""
        starts, stops = (self.column(f"dataset_{end}_index") for end in ("from", "to"))
        runs = [torch.arange(starts[number], stops[number]) for number in sorted(self.train)]
        owners = [torch.full_like(run, number) for run, number in zip(runs, sorted(self.train), strict=True)]
        return torch.cat(runs) + self.offset, torch.cat(owners)


def open_sources(
    sources: Iterable[Source], saved_rename: Mapping[str, str] | None = None
) -> tuple[OpenSource, ...]:
    """Reads the metadata of data sets and chooses their episodes.

    Args:
        sources: of :func:`sources_of`.
        saved_rename: camera names that the policy's own preprocessor changes; those that a data set lacks are no
            mistake.

    Raises:
        MissingFileError: a data set, or a file of it, is not there.
        UserError: a damaged data set, or a choice of episodes that cannot be.
    """
    opened: list[OpenSource] = []
    offset = 0
    for source in sources:
        meta = load_metadata(source.repo_id, source.root, source.where)
        lengths = [int(length) for length in meta.episodes["length"]][: meta.total_episodes]
        empty = [number for number, length in enumerate(lengths) if length == 0]
        if empty:
            note(f"{source}: episodes {empty} have no frame; they are left out")
        train, held_out = split_episodes(
            meta.total_episodes,
            source.episodes,
            source.val_episodes,
            source.exclude_episodes,
            empty=empty,
            where=source.where,
        )
        saved = {key: name for key, name in (saved_rename or {}).items() if key in meta.features}
        opened.append(OpenSource(source, meta, train, held_out, offset, {**saved, **(source.rename or {})}))
        offset += meta.total_frames
    return tuple(opened)


def content_of(sources: Sequence[OpenSource]) -> str:
    """A fingerprint of all files of some data sets, in their order; of a single one :func:`data_content`."""
    if len(sources) == 1:
        return sources[0].content
    return hashlib.sha256("\n".join(source.content for source in sources).encode()).hexdigest()


def samples_of(sources: Sequence[OpenSource]) -> tuple[Tensor, Tensor]:
    """Identities of all training frames, sorted, and the episode of each in its own data set; ``[n]`` both."""
    samples, owners = zip(*(source.samples() for source in sources), strict=True)
    return torch.cat(samples), torch.cat(owners)
