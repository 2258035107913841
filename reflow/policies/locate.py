"""Where a policy is: a folder given, one inside it, or a copy of what the Hugging Face hub has."""

from __future__ import annotations

import glob
from pathlib import Path

from reflow.errors import MissingFileError, UserError
from reflow.hub import REFUSALS, Repository, pull, refusal
from reflow.notices import note
from reflow.policies.files import CARD, CONFIG, VLM, WEIGHTS
from reflow.policies.sums import SUMS, files_in_sums

POLICY = "pretrained_model"
_CHECKPOINTS = "checkpoints"
_WANTED = ("*.json", "*.safetensors", "*.txt", f"{VLM}/*", SUMS, CARD)


def locate(path: str | Path, field: str) -> Path:
    """The local folder that holds a policy's files, whether they are whole or not.

    Args:
        path: a ``pretrained_model`` folder, one that has such a folder inside (a checkpoint, ``checkpoints``,
            the folder of a training run), or ``owner/name`` or ``owner/name@revision`` on the Hugging Face hub
            (downloaded once, then cached).
        field: the configuration key to name in errors.

    Raises:
        MissingFileError: no such folder, and the hub does not have it.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        return _download(str(path), field)
    inside = descend(folder)
    if inside != folder:
        note(f"{field}={path} is not itself a policy's folder; the policy inside it was taken: {inside}")
    return inside


def descend(folder: Path) -> Path:
    """The ``pretrained_model`` folder inside a checkpoint, a folder of checkpoints or a run; else the folder itself.

    Of several checkpoints the one called ``last`` counts, and where there is none the one with the largest number.
    """
    if (folder / CONFIG).is_file():
        return folder
    if (folder / POLICY).is_dir():
        return folder / POLICY
    for checkpoints in (folder / _CHECKPOINTS, folder):
        if (checkpoints / "last" / POLICY).is_dir():
            return checkpoints / "last" / POLICY
        numbered = [
            (int(entry.name), entry / POLICY)
            for entry in (checkpoints.iterdir() if checkpoints.is_dir() else ())
            if entry.name.isdecimal() and (entry / POLICY).is_dir()
        ]
        if numbered:
            return max(numbered)[1]
    return folder


def fetch_base(repo_id: str, revision: str | None = None) -> Path | None:
    """The copy of a policy's weights and configuration on the hub; None where it cannot be had."""
    try:
        return pull(Repository(repo_id, revision), (CONFIG, WEIGHTS))
    except REFUSALS:
        return None


def _download(said: str, field: str) -> Path:
    repository = Repository.read(said)
    why = "no path of a folder, and no owner/name"
    if repository is not None:
        try:
            folder = pull(repository, _WANTED)
            # A backbone's, under names of its own.
            if missing := [name for name in files_in_sums(folder) if not (folder / name).is_file()]:
                pull(repository, (*_WANTED, *map(glob.escape, missing)))
            return folder
        except REFUSALS as error:
            if isinstance(error, UserError):
                raise
            why = refusal(error, repository)
    raise MissingFileError(
        f"{field}={said} is neither a folder here nor a policy that the Hugging Face hub gives ({why}); give the "
        f"path of a pretrained_model folder, e.g. {field}=outputs/train/my_run/checkpoints/last/pretrained_model"
    )
