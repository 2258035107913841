"""The one place where LeRobot opens a data set, and what stops it in words: a file, a version, the hub."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path

from httpx import HTTPError
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from lerobot.datasets.dataset_metadata import LeRobotDatasetMetadata
from lerobot.datasets.lerobot_dataset import LeRobotDataset
from lerobot.datasets.utils import CompatibilityError

from reflow.data.folder import check_meta, named
from reflow.errors import MissingFileError, UserError


def load_metadata(
    repo_id: str | None, root: str | Path | None, where: str = "data"
) -> LeRobotDatasetMetadata:
    """Metadata of a data set, or an error that says which field to correct.

    Args:
        repo_id: name of the data set.
        root: its local folder; None takes it from LeRobot's cache or the hub.
        where: the section that names it, for errors.

    Raises:
        MissingFileError: there is no such data set here or on the hub, or a file of it is missing.
        UserError: it is empty, damaged, or of a version that LeRobot does not read any more.
    """
    if repo_id is None:
        raise UserError(f"{where}.repo_id is null; name one data set ({where}.repo_id=me/my_data)")
    if root is not None:
        check_meta(Path(root), repo_id, where)
    with _in_words(repo_id, root, where):
        meta = LeRobotDatasetMetadata(repo_id, root=root)
    if root is None:
        check_meta(Path(meta.root), repo_id, where)
    return meta


def load_dataset(
    repo_id: str, root: str | Path | None, episodes: Sequence[int], where: str = "data"
) -> LeRobotDataset:
    """A data set limited to some episodes; what is not here yet is downloaded.

    Raises:
        MissingFileError: the hub does not give it.
    """
    with _in_words(repo_id, root, where):
        return LeRobotDataset(repo_id, root=root, episodes=list(episodes), video_backend=video_backend())


@contextlib.contextmanager
def _in_words(repo_id: str, root: str | Path | None, where: str) -> Iterator[None]:
    try:
        yield
    except UserError:
        raise
    except (CompatibilityError, NotImplementedError) as error:
        raise UserError(f"{named(repo_id, where, root)}: {' '.join(str(error).split())}") from error
    except (OSError, HTTPError, HfHubHTTPError, HFValidationError) as error:
        raise MissingFileError(
            f"{where}.repo_id={repo_id} is neither in LeRobot's cache nor given by the Hugging Face hub "
            f"({type(error).__name__}); for a local data set name its folder with {where}.root=..."
            if root is None
            else f"{where}.root={root} is incomplete: files are missing, and the Hugging Face hub does not give "
            f"{where}.repo_id={repo_id} ({type(error).__name__}); copy the whole folder"
        ) from error
    except Exception as error:  # whatever LeRobot and the readers below it raise, they raise about the files
        what = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
        raise UserError(
            f"{named(repo_id, where, root)} is not as LeRobot expects it ({what}); does lerobot-train read it?"
        ) from error


@functools.cache
def video_backend() -> str:
    """The decoder that works here; asked quietly, where LeRobot prints pages of traceback."""
    try:
        import torchcodec  # noqa: F401  (needs FFmpeg's shared libraries)
    except (ImportError, OSError, RuntimeError):
        return "pyav"
    return "torchcodec"
