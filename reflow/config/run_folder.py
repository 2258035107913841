"""One folder per configuration: start, go on, or be finished, and never mix two runs.

``run.json`` (written first) holds the resolved configuration and the teacher's fingerprint, ``metrics.json``
(written last) says that the run is finished. Both are written atomically.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflow.errors import UserError
from reflow.files import write_json
from reflow.policies.folder import fingerprint as fingerprint  # part of a run's identity

RUN, METRICS, STUDENT, CHECKPOINT = "run.json", "metrics.json", "pretrained_model", "checkpoints/last.ckpt"
# What changes no student: where things lie (the teacher's fingerprint is compared), how data are read, what is shown,
# what is played afterwards.
NOT_COMPARED = frozenset(
    {
        "run_dir",
        "name",
        "logger",
        "teacher.path",
        "pairs.path",
        "data.num_workers",
        "data.prefetch_factor",
        "data.pin_memory",
        "data.preload",
        "callbacks.progress",
        "callbacks.flow",
        "env",
        "simulator",
        "callbacks.checkpoint",
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

    def check(self, identity: Mapping[str, Any]) -> None:
        """Refuses a folder that is not this configuration's.

        Args:
            identity: resolved configuration and fingerprints, JSON-able.

        Raises:
            OtherRunError: another configuration's run is in there, or files that are no run.
        """
        if (self.path / RUN).is_file():
            there, wanted = json.loads((self.path / RUN).read_text()), json.loads(json.dumps(identity))
            differences = list(_differences(there, wanted))
            if differences:
                raise OtherRunError(
                    f"run_dir={self.path} holds another configuration's run:\n  "
                    + "\n  ".join(differences)
                    + "\n"
                    "Give this run another folder (run_dir=... or name=...), or delete that one"
                )
        elif self.path.is_dir() and any(self.path.iterdir()):
            raise OtherRunError(
                f"run_dir={self.path} is not empty and holds no run of reflow ({RUN} is missing); choose a new folder"
            )

    def claim(self, identity: Mapping[str, Any]) -> None:
        """Makes the folder this configuration's own."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / RUN, identity)

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint to go on from, or None for a fresh start."""
        path = self.path / CHECKPOINT
        return path if path.is_file() else None

    @property
    def student(self) -> Path:
        """Where the student goes."""
        return self.path / STUDENT

    def finished(self) -> dict[str, float] | None:
        """The metrics of a finished run, or None while there is something to do."""
        path = self.path / METRICS
        return json.loads(path.read_text()) if path.is_file() and self.student.is_dir() else None

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Writes ``metrics.json``: from now on the run is finished."""
        write_json(self.path / METRICS, dict(sorted(metrics.items())))


def _differences(old: Any, new: Any, where: str = "") -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            path = f"{where}.{key}" if where else key
            if path not in NOT_COMPARED:
                yield from _differences(old.get(key), new.get(key), path)
    elif old != new:
        yield f"{where}: {old} there, {new} now"
