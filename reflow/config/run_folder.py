"""One folder per configuration: start, go on, or be finished, and never mix two runs.

``run.json`` (written first) holds the resolved configuration, the teacher's fingerprint and the run's id, which its
checkpoints bear; ``metrics.json`` (written last) says that the run is finished. Both are written atomically.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_only

from reflow.distill.checkpoints import LAST, whole_checkpoint
from reflow.errors import UserError
from reflow.files import read_json, read_metrics, write_json
from reflow.locks import LOCK, alone
from reflow.notices import warn
from reflow.policies.folder import fingerprint as fingerprint  # part of a run's identity
from reflow.policies.whole import check_whole
from reflow.reports.folder import METRICS, keep_metrics

RUN, STUDENT, CHECKPOINTS = "run.json", "pretrained_model", "checkpoints"
DATA_CONTENT, ID = "data_content", "id"
# What changes no student: where things lie (what is in them is compared), how data are read, what is shown, what is
# played afterwards.
NOT_COMPARED = frozenset(
    {
        "run_dir",
        "name",
        "method",
        "logger",
        "teacher.path",
        "pairs.path",
        "data.root",
        "data.num_workers",
        "data.prefetch_factor",
        "data.pin_memory",
        "data.preload",
        "callbacks.progress",
        "callbacks.flow",
        "env",
        "simulator",
        "callbacks.checkpoint",
        ID,
    }
)


class OtherRunError(UserError):
    """The folder holds the run of another configuration."""


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def begun(self) -> bool:
        """Whether a run was begun there."""
        return (self.path / RUN).is_file()

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuses a folder that is not this configuration's.

        Args:
            identity: resolved configuration and fingerprints, JSON-able.

        Raises:
            OtherRunError: another configuration's run is in there, or files that are no run.
        """
        if self.begun:
            there, wanted = self._read_run(), json.loads(json.dumps(identity))
            but = NOT_COMPARED
            if there.get(DATA_CONTENT) is None or wanted.get(DATA_CONTENT) is None:
                # A run of before the content was noted, or data that are gone: then their place is compared.
                but = (but | {DATA_CONTENT}) - {"data.root"}
            differences = list(_differences(there, wanted, but))
            if differences:
                other_data = any(line.startswith(f"{DATA_CONTENT}:") for line in differences)
                hint = "The data set under that path is another one than this run was trained on. "
                raise OtherRunError(
                    f"run_dir={self.path} holds another configuration's run:\n  "
                    + "\n  ".join(differences)
                    + f"\n{hint if other_data else ''}"
                    "Give this run another folder (run_dir=... or name=...), or delete that one"
                )
        elif self.path.exists() and not self.path.is_dir():
            raise OtherRunError(f"run_dir={self.path} is a file; choose a folder")
        elif self.path.is_dir() and any(entry.name != LOCK for entry in self.path.iterdir()):
            raise OtherRunError(
                f"run_dir={self.path} is not empty and holds no run of reflow ({RUN} is missing); choose a new folder"
            )

    def alone(self) -> AbstractContextManager[None]:
        """Keeps other runs out of the folder; of several processes of one run the first does.

        Raises:
            InUseError: another run is at it.
            UserError: nothing can be written there.
        """
        return alone(self.path) if self.first else nullcontext()

    @property
    def first(self) -> bool:
        """Whether this is the first of several processes of a run, the one that writes."""
        return bool(getattr(rank_zero_only, "rank", 0) == 0)

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Makes the folder this configuration's own."""
        self.path.mkdir(parents=True, exist_ok=True)
        own = self.id if self.begun else uuid.uuid4().hex
        write_json(self.path / RUN, {**identity, ID: own})

    @property
    def id(self) -> str | None:
        """What tells this run from any other; None for one of before there were ids, or not begun."""
        return self._read_run().get(ID) if self.begun else None

    def _read_run(self) -> dict[str, Any]:
        content = read_json(self.path / RUN)
        if not isinstance(content, dict):
            raise UserError(
                f"{self.path / RUN} holds no names and values; copy it anew, or delete {self.path}"
            )
        return content

    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None for a fresh start.

        Raises:
            DamagedCheckpointError: there are some, and none is whole.
        """
        return whole_checkpoint(self.path / CHECKPOINTS, self.id)

    def goes_on(self) -> str:
        """Where the same command goes on, for whoever is told that it stopped."""
        path = self.path / CHECKPOINTS / LAST
        begin = path if path.is_file() else "the beginning (there is no checkpoint yet)"
        return f"the same command goes on from {begin}"

    @property
    def student(self) -> Path:
        """Where the student goes."""
        return self.path / STUDENT

    def finished(self) -> dict[str, float] | None:
        """The metrics of a finished run, or None while there is something to do."""
        path = self.path / METRICS
        if not path.is_file() or not self.student.is_dir():
            return None
        metrics = read_metrics(path)
        try:
            check_whole(self.student, f"the student in {self.path}")
        except UserError as error:
            warn(f"{error}. It is delivered again, from the run's last checkpoint")
            return None
        return metrics

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Writes ``metrics.json``, and says which figures are no numbers: from now on the run is finished."""
        keep_metrics(self.path, metrics)


def _differences(old: Any, new: Any, but: Collection[str] = NOT_COMPARED, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            path = f"{where}.{key}" if where else key
            if path not in but:
                yield from _differences(old.get(key), new.get(key), but, path)
    elif old != new:
        yield f"{where}: {old} there, {new} now"
