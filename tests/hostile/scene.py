"""Where a hostile file is tried: what its payload leaves behind, and a whole policy and data set to put it into."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

MODULE = "reflow_hostile_module"  # importable, and leaves the marker when it is imported


class Bomb:
    """A pickle of it leaves the marker when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.marker),)


@dataclass(frozen=True)
class Scene:
    """One attack's own place.

    Attributes:
        here: an empty folder.
        whole_teacher, whole_data: what to copy from.
        patch: undone afterwards.
    """

    here: Path
    whole_teacher: Path
    whole_data: Path
    patch: pytest.MonkeyPatch

    @property
    def marker(self) -> Path:
        """There once a payload ran."""
        return self.here / "executed"

    @property
    def code(self) -> str:
        """Python that leaves the marker."""
        return f"import pathlib\npathlib.Path({str(self.marker)!r}).touch()\nclass Evil: pass\n"

    @property
    def target(self) -> dict[str, Any]:
        """A section that leaves the marker when Hydra makes it: no name that Hydra itself refuses."""
        path = {"_target_": "pathlib.Path", "_args_": [str(self.marker)]}
        return {"_target_": "pathlib.Path.touch", "_args_": [path]}

    def module(self) -> str:
        """The name of a module that can be imported."""
        (self.here / f"{MODULE}.py").write_text(self.code)
        self.patch.syspath_prepend(str(self.here))
        return MODULE

    def teacher(self) -> Path:
        """A whole policy folder."""
        return Path(shutil.copytree(self.whole_teacher, self.here / "teacher"))

    def data(self) -> Path:
        """A whole data set."""
        return Path(shutil.copytree(self.whole_data, self.here / "set"))


def edit(file: Path, change: Callable[[Any], object]) -> None:
    """Changes JSON in place."""
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def safetensors(header: object, body: bytes = b"", length: int | None = None) -> bytes:
    """A safetensors file with this header; its length may be another than it says."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body
