"""Where observations come from: one data set, or several with weights; a single one is a mixture of one.

The identity of a frame is its number in its own data set, behind all frames of the data sets named before it. So it
is distinct across them, and for a single data set what it always was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from torch import Tensor

from reflow.data.content import data_content
from reflow.data.folder import check_files, named
from reflow.data.opening import load_dataset, load_metadata
from reflow.data.split import split_episodes
from reflow.errors import UserError
from reflow.notices import note


@dataclass(frozen=True)
class Source:
    """One data set of a run, not opened yet.

    Attributes:
        repo_id: a hub id, or any name beside a local ``root``.
        root: its local folder; None takes it from LeRobot's cache or the hub.
        episodes: training episodes; None for all but the held-out ones.
        val_episodes: held-out episodes; None for the last tenth.
        exclude_episodes: used for neither.
        rename: from its camera keys to the policy's.
        weight: its share of training frames beside those of others; None for as many as it has.
        where: the section that names it, for errors.
    """

    repo_id: str
    root: str | Path | None = None
    episodes: Sequence[int] | None = None
    val_episodes: Sequence[int] | None = None
    exclude_episodes: Sequence[int] | None = None
    rename: Mapping[str, str] | None = None
    weight: float | None = None
    where: str = "data"

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 < self.weight < float("inf"):
            raise UserError(f"{self.where}.weight={self.weight}; allowed: more than 0, or null")

    def __str__(self) -> str:
        return named(self.repo_id, self.where, self.root)


_KEYS = tuple(entry.name for entry in fields(Source) if entry.name != "where")
_ALONE = ("repo_id", "root", "episodes", "val_episodes", "exclude_episodes", "rename")
_EPISODES = "a list of episode numbers"
_ALLOWED = {
    "weight": "a number above 0",
    "rename": "camera names, theirs to the policy's ({a: b})",
    "episodes": _EPISODES,
    "val_episodes": _EPISODES,
    "exclude_episodes": _EPISODES,
}


def sources_of(arguments: Mapping[str, Any]) -> tuple[Source, ...]:
    """The data sets that a section ``data`` names.

    Args:
        arguments: arguments of :class:`reflow.data.LeRobotDataModule`; others than those of sources are left aside.

    Raises:
        UserError: names the key that is missing, unknown, or there although another excludes it.
    """
    mixture = arguments.get("mixture")
    given = [name for name in _ALONE if arguments.get(name) is not None]
    if mixture is None:
        if arguments.get("repo_id") is None:
            raise UserError("neither data.repo_id nor data.mixture is given; name a data set, or several")
        alone: dict[str, Any] = {name: arguments.get(name) for name in _ALONE}
        return (Source(**alone),)
    if given:
        raise UserError(
            f"data.mixture and {', '.join(f'data.{name}' for name in given)} are both given; put what is said of one "
            "data set into its entry of the mixture, and leave the other null"
        )
    if not mixture:
        raise UserError(
            "data.mixture=[] names no data set; give entries {repo_id: ..., root: ..., weight: ...}"
        )
    return tuple(_entry(values, f"data.mixture[{number}]") for number, values in enumerate(mixture))


def _entry(values: Any, where: str) -> Source:
    if not isinstance(values, Mapping):
        raise UserError(f"{where} is {values!r}; allowed: {{{', '.join(f'{key}: ...' for key in _KEYS)}}}")
    if unknown := sorted(set(map(str, values)) - set(_KEYS)):
        raise UserError(f"{where} has {unknown}; allowed: {', '.join(_KEYS)}")
    if values.get("repo_id") is None:
        raise UserError(f"{where}.repo_id is missing; name the data set (any name beside a local root)")
    for key, value in values.items():
        if value is not None and not _fits(key, value):
            raise UserError(f"{where}.{key}={value!r}; allowed: {_ALLOWED.get(key, 'text')}, or null")
    return Source(**{str(key): value for key, value in values.items()}, where=where)


def _fits(key: str, value: Any) -> bool:
    """Whether a value is of its key's kind; inside a list the schema of the command does not look."""
    if key == "weight":
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if key == "rename":
        return isinstance(value, Mapping) and all(isinstance(name, str) for name in value.values())
    if key.endswith("episodes"):
        return isinstance(value, (list, tuple)) and all(type(number) is int for number in value)
    return isinstance(value, (str, Path))


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
        kinds = [self._files_of(None), *(self._files_of(key) for key in self.meta.video_keys)]
        check_files(self.root, sorted({file for files in kinds for file in files}), self.source.where)
        return self.root

    def column(self, name: str) -> list[Any]:
        """What ``meta/episodes`` says of every episode."""
        return self.meta.episodes.data.column(name).to_pylist()

    def files_of(self, video: str | None = None) -> list[Path]:
        """Which file holds the table, or this camera's video, of each of the ``chosen`` episodes; all are there."""
        _ = self.here
        return self._files_of(video)

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
        """A fingerprint of its files, downloaded first where it is the hub's."""
        return data_content(self.here)

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
