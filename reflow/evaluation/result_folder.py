"""Where an evaluation leaves what it found, so that the same command finds it again, and no other one does.

``offline.json`` says what was measured (settings, fingerprints) and what came out, ``latencies.json`` how long each
contender thinks; the simulator's episodes keep their own account (``reflow.simulator.journal``). Left out: the
report page.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reflow.errors import UserError
from reflow.files import UnwritableError, json_of, metrics_in, read_json, write_json
from reflow.probes.figures import Figures
from reflow.reports.folder import ARRAYS, METRICS, keep_metrics, load_arrays, save_arrays
from reflow.simulator.journal import EPISODES, IDENTITY

OFFLINE, LATENCIES = "offline.json", "latencies.json"


class OtherResultsError(UserError):
    """The folder holds something else."""


@dataclass(frozen=True)
class ResultFolder:
    """The folder of one evaluation.

    Attributes:
        path: the folder.
    """

    path: Path

    def check_writable(self) -> None:
        """Makes the folder, and tries to write there.

        Raises:
            UnwritableError: it cannot be made or written.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=self.path):
                pass
        except OSError as error:
            raise UnwritableError(
                f"run_dir={self.path} cannot be written ({error.strerror}); nothing was measured yet. Choose another "
                "folder: run_dir=DIR"
            ) from error

    def check_owner(self) -> None:
        """Refuses a folder that holds files which are no evaluation's.

        Raises:
            OtherResultsError: it does.
        """
        if not self.path.is_dir():
            return
        there = {file.name for file in self.path.iterdir()}
        ours = there & {OFFLINE, LATENCIES, EPISODES, IDENTITY, METRICS}
        if "run.json" in there or (there and not ours):
            raise OtherResultsError(
                f"run_dir={self.path} holds no evaluation, but {', '.join(sorted(there)[:4])}; choose a new folder"
            )

    def offline(self, identity: Mapping[str, Any]) -> Figures | None:
        """The offline figures of this very evaluation, or None where they are still to be measured.

        Args:
            identity: flat and JSON-able: settings by their keys, and fingerprints.

        Raises:
            OtherResultsError: the folder holds those of another one.
        """
        metrics = self._measured(OFFLINE, identity)
        return None if metrics is None else Figures(metrics, load_arrays(self.path / ARRAYS))

    def keep_offline(self, identity: Mapping[str, Any], found: Figures) -> None:
        """Writes the offline figures: from now on they need not be measured again."""
        save_arrays(self.path / ARRAYS, found.arrays)
        write_json(self.path / OFFLINE, {"identity": identity, "metrics": json_of(found.metrics)})

    def latencies(self, identity: Mapping[str, Any]) -> dict[str, float]:
        """Measured latencies of chunks in ms, by ``teacher@10``; empty where none were measured.

        Args:
            identity: flat and JSON-able: policies and device.

        Raises:
            OtherResultsError: the folder holds those of others.
        """
        return self._measured(LATENCIES, identity) or {}

    def keep_latencies(self, identity: Mapping[str, Any], found: Mapping[str, float]) -> None:
        """Writes measured latencies: what goes on here goes on with these."""
        write_json(self.path / LATENCIES, {"identity": identity, "metrics": json_of(found)})

    def _measured(self, name: str, identity: Mapping[str, Any]) -> dict[str, float] | None:
        """The figures in a file that says of what they are; None where there is no such file."""
        if not (self.path / name).is_file():
            return None
        content = read_json(self.path / name)
        if not (
            isinstance(content, dict) and isinstance(content.get("identity"), dict) and "metrics" in content
        ):
            raise UserError(f"{self.path / name} is none of ours; delete it, and it is measured anew")
        there, wanted = content["identity"], json.loads(json.dumps(identity))
        differing = [
            f"{key}: {there.get(key)} there, {wanted.get(key)} now"
            for key in sorted(there.keys() | wanted.keys())
            if there.get(key) != wanted.get(key)
        ]
        if differing:
            raise OtherResultsError(
                f"run_dir={self.path} holds another evaluation:\n  "
                + "\n  ".join(differing)
                + "\nGive this one another folder (run_dir=DIR), or delete that one"
            )
        return metrics_in(content["metrics"], self.path / name)

    def finish(self, metrics: Mapping[str, float]) -> None:
        """Writes ``metrics.json``: all figures, flat; says which are not finite."""
        keep_metrics(self.path, metrics)
