"""Finished episodes on disk: one line each, written when it is finished, never lost and never mixed.

``episodes.jsonl`` holds the episodes, ``episodes.identity.json`` beside it says of what: environment, policies,
noise. Only one process writes. Left out: playing, and what the figures mean.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple

from reflow.errors import UserError
from reflow.files import json_in, read_object, write_json
from reflow.typed import typed

EPISODES, IDENTITY = "episodes.jsonl", "episodes.identity.json"

_OWN_TERMS = ("policies", "delayed")  # of the identity: what only some episodes are a function of
_ONCE = "n_action_steps"  # stood in the identity, for all episodes, before it was an episode's own


class Key(NamedTuple):
    """What tells an episode from the others of an evaluation; the fields are an episode's."""

    contender: str
    num_steps: int
    seed: int
    n_action_steps: int | None = None
    delay: int = 0
    rtc: str | None = None


class OtherEvaluationError(UserError):
    """The folder holds the episodes of another evaluation."""


@dataclass(frozen=True)
class Episode:
    """One finished episode.

    Attributes:
        contender: name of who played.
        num_steps: integration steps of each chunk.
        seed: of the environment and, with the noise seed, of the noise.
        success: what the environment says (``is_success``).
        max_reward: the highest reward of a control step.
        sum_reward: of all control steps.
        length: control steps played.
        n_action_steps: actions played of each chunk; None for the policy's own number.
        delay: control steps from a look to its chunk, during which the world went on.
        rtc: how a chunk followed the one before; None: without knowing of it.
        jumps: of each action dimension the largest change where a chunk takes over from the one before, in its unit;
            empty where none did, or it was not noted.
    """

    contender: str
    num_steps: int
    seed: int
    success: bool
    max_reward: float
    sum_reward: float
    length: int
    n_action_steps: int | None = None
    delay: int = 0
    rtc: str | None = None
    jumps: tuple[float, ...] = ()

    @property
    def key(self) -> Key:
        """What tells it from the other episodes of an evaluation."""
        return Key(*(getattr(self, name) for name in Key._fields))


class Journal:
    """The episodes of one evaluation; a context manager that holds the file.

    Args:
        folder: where the two files lie; made where it is missing.
        identity: JSON-able; ``identity["policies"]`` maps names to what identifies a policy, ``identity["delayed"]``
            to what only episodes with a delay are a function of. Of these, what both sides know must be what it was;
            all else must be.

    Attributes:
        finished: every episode in the file.

    Raises:
        OtherEvaluationError: the file belongs to another identity.
        BlockingIOError: another process is writing it.
        UserError: a line of it is no episode.
    """

    def __init__(self, folder: Path, identity: Mapping[str, Any]) -> None:
        self.path = folder / EPISODES
        self.finished: dict[Key, Episode] = {}
        self._identity = json.loads(json.dumps(identity))
        self._file: IO[bytes] | None = None

    def __enter__(self) -> Journal:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self.path, "a+b")
        try:
            self._claim(self._file)
        except BaseException:
            self._file.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._file is not None
        self._file.close()  # and with it goes the lock

    def append(self, episode: Episode) -> None:
        """Writes one episode; it is on the disk when this returns."""
        assert self._file is not None, "a journal is written inside its with statement"
        self._file.write(json.dumps(asdict(episode)).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())
        self.finished[episode.key] = episode

    def _claim(self, file: IO[bytes]) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BlockingIOError(
                f"another process is writing {self.path}; wait until it is done, or choose another output folder"
            ) from error
        side = self.path.with_name(IDENTITY)
        file.seek(0)
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):  # killed in the middle of a line: that episode was not finished
            file.truncate(whole)
        if whole and not side.is_file():
            raise OtherEvaluationError(
                f"{self.path} holds episodes, but {side.name} beside it is missing; move it away"
            )
        if whole:
            self._merge(identity_in(self.path.parent))
        write_json(side, self._identity)
        self.finished |= {
            episode.key: episode for episode in _episodes(content[:whole], self._identity, self.path)
        }

    def _merge(self, there: dict[str, Any]) -> None:
        now = self._identity | {key: there[key] for key in (_ONCE,) if there.get(key) is not None}
        old, new, merged = dict(there), dict(now), dict(now)
        for terms in _OWN_TERMS:
            before, after = there.get(terms, {}), now.get(terms, {})
            known = before.keys() & after.keys()
            old[terms], new[terms] = ({key: side[key] for key in known} for side in (before, after))
            merged[terms] = {**before, **after}
        differing = list(_differences(old, new))
        if differing:
            raise OtherEvaluationError(
                f"{self.path} holds the episodes of another evaluation:\n  "
                + "\n  ".join(differing)
                + "\nChoose another output folder, or delete that file and its identity"
            )
        self._identity = merged


def identity_in(folder: Path) -> dict[str, Any]:
    """Of what the episodes of a folder are.

    Raises:
        MissingFileError: there is no journal.
        UserError: its identity is no such thing.
    """
    path = folder / IDENTITY
    found = read_object(path)
    for terms in ("env", *_OWN_TERMS):
        if not isinstance(found.get(terms, {}), dict):
            raise UserError(
                f"{path}: {terms} is no object of names and values; copy it anew, with its episodes"
            )
    return found


def read_episodes(folder: Path) -> list[Episode]:
    """The finished episodes of a folder, whosever they are; none where there is no journal.

    Raises:
        UserError: a line of it is no episode.
    """
    path, side = folder / EPISODES, folder / IDENTITY
    content = path.read_bytes() if path.is_file() else b""
    whole = content.rfind(b"\n") + 1
    return _episodes(content[:whole], identity_in(folder) if side.is_file() else {}, path)


def _episodes(content: bytes, identity: Mapping[str, Any], path: Path) -> list[Episode]:
    unsaid = {_ONCE: identity.get(_ONCE)}
    return [
        _parse(line, unsaid, f"{path}, line {number}")
        for number, line in enumerate(content.splitlines(), start=1)
    ]


def _parse(line: bytes, unsaid: Mapping[str, Any], where: str) -> Episode:
    try:
        told = json_in(line, "the line")
        return typed(Episode, {**unsaid, **told} if isinstance(told, dict) else told)
    except UserError as error:
        raise UserError(
            f"{where} is no episode ({error}); it has {', '.join(field.name for field in fields(Episode))}. "
            "Remove that line: its episode is played again"
        ) from error


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key), new.get(key), f"{where}.{key}" if where else key)
    elif old != new:
        yield f"{where}: {old} there, {new} now"
