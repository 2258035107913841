"""A policy's folder that was moved, or will be, is told where it is: stock LeRobot asks for its backbone by a path.

Stock resolves a backbone's name as an absolute path, or from the working directory. So a folder either names its own
place, and has to be told when it moves, or names ``./vlm``, moves freely, and works only where the working directory
is the folder itself. (``vlm`` without the point would be asked of the hub from anywhere else.) Weights stay as they
are, and so does everything that is named by a hub id.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reflow.errors import MissingFileError, UserError
from reflow.files import read_json, write_json
from reflow.notices import note
from reflow.policies import get_adapter
from reflow.policies.files import CONFIG, PROCESSORS
from reflow.policies.sums import check_file, write_sums_of

ABSOLUTE, RELATIVE = "absolute", "relative"
USAGE = (
    "usage: python -m reflow.export relocate DIR [to=PLACE] [paths=absolute|relative]\n"
    "  tells a policy's folder that it is in DIR now; or, with to=PLACE, where it will be copied to.\n"
    "  paths=relative: it works wherever it is, for a process whose working directory is the folder"
)


def relocate(folder: Path, to: Path | None = None, *, relative: bool = False) -> list[str]:
    """Rewrites the folders that a policy's files name, to those inside it; again and again, it is the same.

    Args:
        folder: of the policy, as stock LeRobot loads it.
        to: where it will be, an absolute path; None: where it is.
        relative: name folders from the policy's own; ``to`` does not matter then.

    Returns:
        A line for every setting that was changed.

    Raises:
        UserError: its files are not what was written, by their checksums; or ``to`` is no absolute path.
        MissingFileError: it is no policy's folder, or has no folder inside for one that it names.
    """
    if to is not None and not to.is_absolute():
        raise UserError(
            f"to={to}; allowed: an absolute path, as the machine calls it that will run the policy"
        )
    if not (folder / CONFIG).is_file():
        raise MissingFileError(f"{folder} is no policy's folder: it has no {CONFIG}; give one that has")
    folder = folder.resolve()
    place = folder if to is None else to
    contents: dict[str, Any] = {}
    for name in (CONFIG, *PROCESSORS):
        if (folder / name).is_file():
            check_file(folder, name)
            contents[name] = read_json(folder / name)
    changed: dict[str, list[str]] = {}
    for name, owner, field, inside in _named(folder, contents):
        value = f"./{inside}" if relative else str(place / inside)
        if owner[field] != value:
            changed.setdefault(name, []).append(f"{name}: {field}={value}")
            owner[field] = value
    for name in changed:
        write_json(folder / name, contents[name])
    write_sums_of(folder, changed)
    return [line for lines in changed.values() for line in lines]


def relocate_command(arguments: Sequence[str]) -> int:
    """``python -m reflow.export relocate DIR``, and what it says.

    Args:
        arguments: behind the word ``relocate``.

    Returns:
        The exit code: 0 done, 2 cannot be done.
    """
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    folders = [word for word in arguments if "=" not in word]
    if len(folders) != 1 or folders[0].startswith("-") or given.keys() - {"to", "paths"}:
        print(USAGE, file=sys.stderr if folders != ["--help"] else sys.stdout)
        return 0 if folders == ["--help"] else 2
    try:
        paths = given.get("paths", ABSOLUTE)
        if paths not in (ABSOLUTE, RELATIVE):
            raise UserError(f"paths={paths}; allowed: {ABSOLUTE}, {RELATIVE}")
        to = Path(given["to"]) if "to" in given else None
        folder = Path(folders[0]).expanduser()
        lines = relocate(folder, to, relative=paths == RELATIVE)
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for line in lines or ["nothing to change: it names no other place"]:
        print(line)
    return 0


def _named(folder: Path, contents: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str, str]]:
    """Every setting that names a folder: its file, the object and field that hold it, and the folder inside."""
    config = contents[CONFIG]
    settings = [(CONFIG, config, field) for field in get_adapter(str(config.get("type"))).backbones]
    backbones = {config.get(field) for _, _, field in settings}
    for name in contents.keys() - {CONFIG}:
        steps = (step.get("config") or {} for step in contents[name].get("steps", ()))
        settings += [
            (name, own, field)
            for own in steps
            for field, value in own.items()
            if isinstance(value, str) and (value in backbones or field.endswith(("_name", "_path")))
        ]
    for name, owner, field in settings:
        inside = _inside(folder, f"{folder / name} says {field}={owner.get(field)}", owner.get(field))
        if inside is not None:
            yield name, owner, field, inside


def _inside(folder: Path, said: str, value: Any) -> str | None:
    """The name of the folder inside that a setting means; None where it names none, or one elsewhere."""
    if not isinstance(value, str) or not value:
        return None
    if (folder / Path(value).name).is_dir():
        return Path(value).name
    if value.startswith(("/", ".")):
        if Path(value).is_absolute() and Path(value).is_dir():
            note(f"{said}, which is outside of it, and stays so: a copy needs that folder, too")
            return None
        raise MissingFileError(
            f"{said}, and there is no folder {Path(value).name} in it; copy it there, or export the policy again "
            "where that folder is"
        )
    if "/" in value:
        note(f"{said}, which is of the Hugging Face hub, and stays so")
    return None
