"""``manifest.json`` of a pair cache: which pairs, in which files, with which checksums.

It is written first, without checksums; who finds every shard complete writes it again with all of them, and whoever
that is writes the same. More draws, or a store, asked for later are added to it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from torch import Tensor

from reflow.endpoints.identity import Identity
from reflow.endpoints.layout import Layout, shard_file
from reflow.endpoints.shards import Seal, read_seal, write_whole
from reflow.errors import MissingFileError, UserError
from reflow.files import read_object
from reflow.typed import typed

MANIFEST = "manifest.json"
FORMAT = 1


class OtherPairsError(UserError):
    """The cache holds other pairs than those asked for."""


class OtherFormatError(UserError):
    """The cache is of a reflow that wrote another kind of manifest."""


@dataclass(frozen=True)
class Manifest:
    """What a pair cache says about itself.

    Attributes:
        identity: which pairs.
        layout: what is to be there.
        about: said, never compared: the data set's name, the command that makes the cache.
        versions: of the libraries it was made with; a difference is worth a warning.
        checksums: of every shard that is known to be complete, by its path inside the cache.
    """

    identity: Identity
    layout: Layout
    about: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    checksums: Mapping[str, Seal] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, said: str = "pairs.path=") -> Manifest:
        """The manifest of a cache.

        Args:
            folder: the cache.
            said: what it was named by, as in ``pairs.path=``.

        Raises:
            MissingFileError: there is none.
            UserError: it cannot be understood.
        """
        path = folder / MANIFEST
        if not path.is_file():
            raise MissingFileError(
                f"{said}{folder} holds no pair cache: {MANIFEST} is missing; make one with "
                "python -m reflow.pairs, which says where it is"
            )
        try:
            values = read_object(path)
            if (there := values.pop("format", FORMAT)) != FORMAT:
                raise OtherFormatError(
                    f"{path} has format {there}, this version of reflow reads {FORMAT}; make the cache anew"
                )
            found = typed(cls, values | {"layout": Layout.plain(values.get("layout"))})
            found.check_names()
            return found
        except OtherFormatError:
            raise
        except UserError as error:
            raise UserError(
                f"{path} is damaged ({error}); copy it from where the cache was made, or "
                f"delete {folder} and make the cache anew: nothing else says whose pairs its shards are"
            ) from error

    def check_names(self) -> None:
        """Refuses checksums of what is none of its shards, whose names are paths.

        Raises:
            UserError: names the first of them.
        """
        for name in self.checksums:
            folder, _, file = name.partition("/")
            number = file.removesuffix(".safetensors")
            known = folder in self.layout.folders and number.isascii() and number.isdecimal()
            if not known or int(number) >= self.layout.num_shards or shard_file(folder, int(number)) != name:
                raise UserError(f"checksums has {name!r}, which is none of its shards")

    def write(self, folder: Path) -> None:
        """Puts ``manifest.json`` in place; the folder is made where it is missing."""
        values = {"format": FORMAT} | asdict(self) | {"layout": self.layout.as_json()}
        values["checksums"] = dict(sorted(values["checksums"].items()))
        write_whole(folder / MANIFEST, json.dumps(values, indent=1).encode() + b"\n")

    @property
    def command(self) -> str:
        """The command that makes, or goes on making, this cache."""
        return self.about.get("command", "python -m reflow.pairs")

    @property
    def complete(self) -> frozenset[str]:
        """Folders (blocks of draws, stores) of which every shard is sealed."""
        sealed = Counter(name.partition("/")[0] for name in self.checksums)
        return frozenset(name for name in self.layout.folders if sealed[name] == self.layout.num_shards)

    def check_identity(self, asked: Identity, folder: Path) -> None:
        """Refuses a cache of other pairs.

        Raises:
            OtherPairsError: names every field that differs, and what to do.
        """
        differences = list(self.identity.differences(asked))
        if differences:
            raise OtherPairsError(
                f"{folder} holds other pairs than those asked for:\n  "
                + "\n  ".join(differences)
                + "\nAsk for those, or make another cache: python -m reflow.pairs name=... with this run's settings"
            )

    def check_covers(self, samples: Tensor, episodes: Tensor, folder: Path) -> None:
        """Refuses a cache that lacks observations.

        Args:
            samples: identities of those asked for, ``[n]``.
            episodes: the episode of each, ``[n]``.
            folder: of the cache.

        Raises:
            OtherPairsError: says how many are missing, and of which episodes.
        """
        missing = self.layout.samples.places(samples) < 0
        if missing.any():
            of_episodes = episodes[missing].unique().tolist()
            raise OtherPairsError(
                f"{folder} lacks {int(missing.sum())} of the {len(samples)} observations asked for, of episodes "
                f"{_shortened(of_episodes)}; leave those out (data.episodes=..., data.val_episodes=...), or make "
                "another cache of all of them: python -m reflow.pairs name=..."
            )

    def sealed(self, folder: Path) -> Manifest:
        """This manifest with the checksums of all kinds of content that are complete on disk."""
        found: dict[str, Seal] = {}
        for name in self.layout.folders:
            files = [shard_file(name, shard) for shard in range(self.layout.num_shards)]
            seals = {file: seal for file in files if (seal := read_seal(folder / file)) is not None}
            if len(seals) == len(files):
                found |= seals
        return replace(self, checksums=found)


def settle(asked: Manifest, folder: Path) -> Manifest:
    """What a folder will hold once what is asked for is in it, too.

    Args:
        asked: of a cache that holds just what is asked for.
        folder: of a cache that may be there.

    Returns:
        ``asked`` where nothing is there; else what is there, extended by draws and stores. The way of working
        (shards, sub-batches) stays the one that is there.

    Raises:
        OtherPairsError: other pairs are there.
        UserError: a store is there in another precision, or the manifest is damaged.
        MissingFileError: shards are there, and no manifest.
    """
    if not (folder / MANIFEST).is_file():
        if any(folder.glob("*/*.safetensors")):
            raise MissingFileError(
                f"run_dir={folder} holds shards but no {MANIFEST}, and nothing else says whose pairs they are; copy "
                "it from where the cache was made, or give another folder (run_dir=... or name=...)"
            )
        return asked
    there = Manifest.read(folder, "path=")
    there.check_identity(asked.identity, folder)
    layout = there.layout.extended(asked.layout.draws, asked.layout.stores)
    return there if layout == there.layout else replace(there, layout=layout, about=asked.about)


def _shortened(numbers: list[int]) -> str:
    return str(numbers) if len(numbers) <= 20 else f"[{', '.join(map(str, numbers[:20]))}, ...]"
