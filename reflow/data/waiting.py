"""Episodes that wait to become a data set, each a file of its own: a recording goes on where it stopped.

A LeRobotDataset is written from its first episode to its last, and is none before the last. So episodes are kept one
by one as they are finished, in a hidden folder beside the data set's; when all are there, the data set is written in
the order that is asked for, and the folder goes.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from reflow.data.recording import Layout, Recorded, check_new_root, write_dataset
from reflow.errors import UserError
from reflow.files import read_json, replace_file, write_json

_IDENTITY, _FRAMES, _TOLD = "recording.json", "frames/", "told"


class WaitingEpisodes:
    """The episodes of a recording that is not finished.

    Args:
        root: folder of the data set to be; must not exist.
        identity: JSON-able; what the episodes depend on beside what they are named by.

    Raises:
        UserError: the data set is there already, or what waits is of another recording.
    """

    def __init__(self, root: Path, identity: Mapping[str, Any]) -> None:
        check_new_root(root)
        self.root, self.folder = root, root.parent / f".{root.name}.episodes"
        self._identity = json.loads(json.dumps(identity))
        there = self.folder / _IDENTITY
        if there.is_file() and (old := read_json(there)) != self._identity:
            names = sorted(
                key for key in old.keys() | self._identity.keys() if old.get(key) != self._identity.get(key)
            )
            told = "; ".join(f"{key} was {old.get(key)}, is {self._identity.get(key)}" for key in names)
            raise UserError(
                f"{self.folder} holds episodes of another recording: {told}. Say what it was to go on, name another "
                "run_dir, or remove that folder"
            )

    def begin(self) -> None:
        """Says on the disk what is recorded."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_json(self.folder / _IDENTITY, self._identity)

    def __contains__(self, name: str) -> bool:
        """Whether the episode of this name is there."""
        return self._file(name).is_file()

    def add(self, name: str, episode: Recorded) -> None:
        """Keeps one; it is whole on the disk, or not there.

        Args:
            name: what it is found by; of a file.
            episode: with frames or without.
        """
        frames = {f"{_FRAMES}{key}": value for key, value in (episode.frames or {}).items()}
        told = {
            "seed": episode.seed,
            "task": episode.task,
            "success": episode.success,
            _TOLD: dict(episode.told),
        }
        tensors = {**frames, "states": episode.states, "actions": episode.actions}
        write = partial(save_file, tensors, metadata={"episode": json.dumps(told)})
        replace_file(self._file(name), write)

    def read(self, name: str) -> Recorded:
        """One of them."""
        tensors = load_file(self._file(name))
        with safe_open(self._file(name), "numpy") as file:
            told = json.loads(file.metadata()["episode"])
        cameras = {key: value for key, value in tensors.items() if key.startswith(_FRAMES)}
        return Recorded(
            seed=told["seed"],
            task=told["task"],
            success=told["success"],
            frames={key.removeprefix(_FRAMES): value for key, value in cameras.items()} or None,
            states=tensors["states"],
            actions=tensors["actions"],
            told=told[_TOLD],
        )

    def finish(self, layout: Layout, names: Iterable[str]) -> Path:
        """Writes the data set of those of these episodes that have frames, in this order, and removes what waited."""
        write_dataset(self.root, layout, (one for one in map(self.read, names) if one.frames is not None))
        shutil.rmtree(self.folder)
        return self.root

    def _file(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"
