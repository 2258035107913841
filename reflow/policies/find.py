"""The one way in for a policy's folder: located, checked to be whole, mended where LeRobot would run it as it is.

What was mended is written once, as an ordinary folder, to a cache whose names are functions of the contents:
whoever loads a policy by its path sees an ordinary, true folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from safetensors.torch import save_file

from reflow.files import UnwritableError, write_json
from reflow.notices import note, warn
from reflow.policies import stock
from reflow.policies.files import CONFIG, WEIGHTS, PolicyFiles
from reflow.policies.folder import replace_folder
from reflow.policies.foreign import about
from reflow.policies.locate import POLICY, locate
from reflow.policies.mending import VERSION, mend
from reflow.policies.registry import get_adapter
from reflow.policies.sums import SUMS
from reflow.policies.whole import check_whole


def find_folder(path: str | Path, field: str = "teacher.path") -> Path:
    """A complete local ``pretrained_model`` folder for a path or a hub id.

    Args:
        path: a local folder, or ``owner/name`` on the Hugging Face hub (downloaded once, then cached). A
            checkpoint, a folder of checkpoints or a run's folder has the policy inside.
        field: the configuration key to name in errors.

    Returns:
        The folder itself, or a mended copy of it in the cache (:func:`cache`).

    Raises:
        MissingFileError: no such folder, the hub does not have it, or files are missing in it.
        UserError: a file of it is cut short, or says something that nobody can run.
        NotInstalledError: it needs a package that is not there.
    """
    folder = locate(path, field).resolve()
    with about(folder):
        check_whole(folder, f"{field}={path}")
        files = PolicyFiles.read(folder)
        get_adapter(
            str(files.config.get("type"))
        )  # refuses a type that cannot be distilled, whatever else is odd
        lines = mend(files)
    mended = _written(files) if lines else folder
    for line in lines:
        note(line)
    for line in files.doubts:
        warn(line)
    return mended


def cache() -> Path:
    """Where mended policies go: ``$REFLOW_CACHE``, or ``reflow`` in the user's cache."""
    own = os.environ.get("REFLOW_CACHE")
    shared = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    return Path(own).expanduser() if own else Path(shared, "reflow")


def _written(files: PolicyFiles) -> Path:
    home = (cache() / "policies" / _identity(files)).resolve()
    folder = home / POLICY
    if folder.is_dir():
        return folder
    # Before anything is written: it may refuse.
    weights = files.load_weights() if files.weight_changes else None

    def fill(staged: Path) -> None:
        write_json(staged / CONFIG, files.config)
        for name, content in files.processors.items():
            write_json(staged / name, content)
        for name, tensors in files.statistics.items():
            save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, staged / name)
        if weights is not None:
            save_file(weights, staged / WEIGHTS, metadata={"format": "pt"})
        for entry in files.folder.iterdir():
            if entry.name not in {SUMS, *files.dropped} and not (staged / entry.name).exists():
                (staged / entry.name).symlink_to(entry.resolve())

    # Beside its place, under this process's name: several workers may find the same policy at once.
    staged = home.with_name(f".{home.name}.{os.getpid()}")
    try:
        replace_folder(staged / POLICY, fill)
        with contextlib.suppress(OSError):  # another one was faster, and wrote the same
            staged.rename(home)
    except OSError as error:
        raise UnwritableError(
            f"the mended copy of {files.folder} cannot be written to {cache()} ({error.strerror or error}); make "
            "room and rights there, or set REFLOW_CACHE to another folder"
        ) from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return folder


def _identity(files: PolicyFiles) -> str:
    """SHA-256 over where the policy is and what its files hold, and over what mends it."""
    digest = hashlib.sha256(f"{VERSION} {stock.LEROBOT}".encode())
    for file in (*_sources(files.folder), *files.sources):
        digest.update(f"\0{file}\0".encode())
        with open(file, "rb") as handle:
            digest.update(hashlib.file_digest(handle, "sha256").digest())
    return digest.hexdigest()


def _sources(folder: Path) -> Iterable[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in (".json", ".safetensors"))
