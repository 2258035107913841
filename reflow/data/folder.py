"""A data set's folder as it lies on disk, looked over before LeRobot reads it.

LeRobot would ask the hub for what is missing here. Every error names the file. Left out: which values and
videos the files hold (``reflow.data.health``, ``reflow.data.videos``).
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from reflow.data.tables import check_pointer
from reflow.data.written import check_episodes, check_features, check_statistics, check_tasks
from reflow.errors import MissingFileError, UserError
from reflow.files import read_json

_CONVERT = "python -m lerobot.scripts.convert_dataset_v21_to_v30"


def named(repo_id: str, where: str, root: str | Path | None) -> str:
    """A data set as errors speak of it."""
    return f"data set {repo_id}" if root is None else f"data set {repo_id} ({where}.root={root})"


def check_meta(root: Path, repo_id: str, where: str) -> None:
    """Looks over ``meta/``.

    Args:
        root: a local folder.
        repo_id: its name.
        where: the section that names it, as in ``data`` or ``data.mixture[1]``.

    Raises:
        MissingFileError: the folder, or a file in it, is not there.
        UserError: a file is damaged, of another version, or promises more than there is.
    """
    info_file = root / "meta" / "info.json"
    if not info_file.is_file():
        what = "meta/info.json is missing" if root.is_dir() else "there is no such folder"
        raise MissingFileError(
            f"{where}.root={root} is no LeRobotDataset v3: {what}; give the folder that holds meta/ and data/"
        )
    info = _json(info_file)
    _check_version(info, info_file, root, repo_id, where)
    lacking = {"features", "fps", "total_episodes", "total_frames", "data_path"} - set(info)
    if lacking:
        raise UserError(f"{info_file} lacks {sorted(lacking)}; copy it anew from where the data set was made")
    for key, kinds in (("fps", (int, float)), ("total_episodes", int), ("total_frames", int)):
        if not isinstance(info[key], kinds) or info[key] < (key == "fps"):
            raise UserError(f"{info_file}: {key} is {info[key]!r}; a number is expected: copy the file anew")
    check_features(info, info_file)
    if info["total_episodes"] == 0:
        raise UserError(f"{named(repo_id, where, root)} has no episode")
    if (stats := root / "meta" / "stats.json").is_file():
        check_statistics(_json(stats), info, stats)
    tables = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    for file in (root / "meta" / "tasks.parquet", *(tables or [root / "meta" / "episodes"])):
        if not file.exists():
            raise MissingFileError(
                f"{where}.root={root} is incomplete: {file.relative_to(root)} is missing; copy the whole folder"
            )
    lengths = check_episodes(tables, info)
    check_tasks(root / "meta" / "tasks.parquet")
    for what, promised, there in (
        ("episodes", info["total_episodes"], len(lengths)),
        ("frames", info["total_frames"], sum(lengths)),
    ):
        if promised > there:
            raise UserError(
                f"{info_file} promises {promised} {what} (total_{what}), meta/episodes has {there}; copy the whole "
                f"folder anew, or correct total_{what}"
            )


def check_files(root: Path, files: Iterable[Path], where: str) -> None:
    """Refuses files that are missing or are pointers of git-lfs.

    Raises:
        MissingFileError: names the file.
    """
    for file in files:
        top = root / file.relative_to(root).parts[0]
        missing = top if not top.exists() else file
        if not file.is_file():
            raise MissingFileError(
                f"{where}.root={root} is incomplete: {missing.relative_to(root)}{'/' if missing == top else ''} is "
                "missing; copy the whole folder, or choose other episodes"
            )
        check_pointer(file)


def _json(file: Path) -> dict[str, Any]:
    check_pointer(file)
    content = read_json(file)
    if not isinstance(content, dict):
        raise UserError(f"{file} holds no names and values; copy it anew from where the data set was made")
    return content


def _check_version(info: dict[str, Any], file: Path, root: Path, repo_id: str, where: str) -> None:
    version = str(info.get("codebase_version", "none"))
    if version.startswith("v2.1"):
        raise UserError(
            f"{named(repo_id, where, root)} is of version {version}, LeRobot reads v3.0; this converts it, and keeps "
            f"the old one beside it: {_CONVERT} --repo-id={repo_id} --root={str(root)!r} --push-to-hub=false"
        )
    if not version.startswith("v3."):
        raise UserError(
            f"{file}: codebase_version is {version}, LeRobot reads v3.0; "
            + (
                "convert it to v2.1 with a LeRobot of that time, then to v3.0"
                if version.startswith(("v1", "v2"))
                else "install the LeRobot it was made with, or take another data set"
            )
        )
